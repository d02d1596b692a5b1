import { storeSuite } from '../../shared/ports/store.suite.ts'
import { supabaseStore } from './supabase-store.ts'

storeSuite('supabase', () => supabaseStore())
