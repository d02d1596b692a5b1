export { createMemoryStore, type MemoryStore } from './store/create-store.ts'
