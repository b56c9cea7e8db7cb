export { finish } from '../src/events.ts'
