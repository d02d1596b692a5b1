-- Hosted default privileges gave service_role the sequence of agent_messages; it writes none of our tables.
revoke all on all sequences in schema public from service_role;
