/**
 * The sync method: every I/O runs in its issuer, inside the start call. For finding out whether a fault
 * lies in the asynchrony, and for programs that want the pool without threads. PostgreSQL's method_sync.c.
 */
import { fail } from '../../base/assert.js';
import type { IoMethodOps } from './method.js';

export const syncMethod: IoMethodOps = {
  name: 'sync',
  waitOnFdBeforeClose: false,
  needsSynchronousExecution: () => true,
  submit: () => fail('the sync method has nothing to submit: every I/O runs in its issuer'),
  waitOne: null,
};
