;; Sequentially consistent atomics on one shared memory, for atomics.ts.
;;
;; An index counts 32-bit words, as in Atomics.* on an Int32Array; shifting it left by two also makes
;; every address aligned. An index outside the memory traps.
(module
  (import "env" "memory" (memory 1 65536 shared))

  (func (export "load") (param $index i32) (result i32)
    (i32.atomic.load (i32.shl (local.get $index) (i32.const 2))))

  (func (export "store") (param $index i32) (param $value i32)
    (i32.atomic.store (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "add") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.add (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "sub") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.sub (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "and") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.and (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "or") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.or (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "xor") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.xor (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "exchange") (param $index i32) (param $value i32) (result i32)
    (i32.atomic.rmw.xchg (i32.shl (local.get $index) (i32.const 2)) (local.get $value)))

  (func (export "compareExchange") (param $index i32) (param $expected i32) (param $replacement i32) (result i32)
    (i32.atomic.rmw.cmpxchg
      (i32.shl (local.get $index) (i32.const 2)) (local.get $expected) (local.get $replacement)))

  ;; Two words as one number, not torn: low word first, at an even index. Above 2^53 it is not exact.
  (func (export "loadWide") (param $index i32) (result f64)
    (f64.convert_i64_u (i64.atomic.load (i32.shl (local.get $index) (i32.const 2)))))

  (func (export "storeWide") (param $index i32) (param $value f64)
    (i64.atomic.store (i32.shl (local.get $index) (i32.const 2)) (i64.trunc_sat_f64_u (local.get $value)))))
