export { gates as assess } from './gates.ts'
