export { finish } from '../src/base/events.ts'
