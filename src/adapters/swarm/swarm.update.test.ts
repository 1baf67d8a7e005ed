import { swarmConformance } from './conformance.fixture.ts'

swarmConformance('update')
