;; Page checksum and verification in place, for page-kernel.ts. The rules are those of page-checksum.ts and
;; page-verdict.ts, whose plain TypeScript the tests hold against this file.
;;
;; Addresses and block numbers are unsigned. A loop ends when its address equals the end, never when it
;; passes it: a page may be the last of a memory of 4 GiB, where the end wraps to 0. Only loads: the stored
;; checksum is masked, because other threads may be reading the same page.
(module
  (import "env" "memory" (memory 1 65536 shared))

  ;; The 32 sums are eight vectors; a row of the page is 128 bytes. The steps are written out because V8 does
  ;; not inline WebAssembly functions, and a call for each of them would cost more than the step.
  (func $checksum (export "checksum")
    (param $page i32) (param $blockNumber i32) (param $blockSize i32) (result i32)
    (local $row i32) (local $end i32) (local $round i32)
    (local $mask v128) (local $prime v128) (local $t v128)
    (local $s0 v128) (local $s1 v128) (local $s2 v128) (local $s3 v128)
    (local $s4 v128) (local $s5 v128) (local $s6 v128) (local $s7 v128)

    (local.set $s0 (v128.const i32x4 0x5b1f36e9 0xb8525960 0x02ab50aa 0x1de66d2a))
    (local.set $s1 (v128.const i32x4 0x79ff467a 0x9bb9f8a3 0x217e7cd2 0x83e13d2c))
    (local.set $s2 (v128.const i32x4 0xf8d4474f 0xe39eb970 0x42c6ae16 0x993216fa))
    (local.set $s3 (v128.const i32x4 0x7b093b5d 0x98daff3c 0xf718902a 0x0b1c9cdb))
    (local.set $s4 (v128.const i32x4 0xe58f764b 0x187636bc 0x5d7b3bb1 0xe73de7de))
    (local.set $s5 (v128.const i32x4 0x92bec979 0xcca6c0b2 0x304a0979 0x85aa43d4))
    (local.set $s6 (v128.const i32x4 0x783125bb 0x6ca8eaa2 0xe407eac6 0x4b5cfc3e))
    (local.set $s7 (v128.const i32x4 0x9fbf8c76 0x15ca20be 0xf2ca9fd3 0x959bd756))
    (local.set $prime (v128.const i32x4 16777619 16777619 16777619 16777619))
    ;; pd_checksum is the low half of the third word; after the first row nothing is masked.
    (local.set $mask (v128.const i32x4 -1 -1 0xffff0000 -1))
    (local.set $row (local.get $page))
    (local.set $end (i32.add (local.get $page) (local.get $blockSize)))
    (loop $rows
      (local.set $t (v128.xor (local.get $s0) (v128.and (v128.load (local.get $row)) (local.get $mask))))
      (local.set $s0 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s1) (v128.load offset=16 (local.get $row))))
      (local.set $s1 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s2) (v128.load offset=32 (local.get $row))))
      (local.set $s2 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s3) (v128.load offset=48 (local.get $row))))
      (local.set $s3 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s4) (v128.load offset=64 (local.get $row))))
      (local.set $s4 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s5) (v128.load offset=80 (local.get $row))))
      (local.set $s5 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s6) (v128.load offset=96 (local.get $row))))
      (local.set $s6 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (v128.xor (local.get $s7) (v128.load offset=112 (local.get $row))))
      (local.set $s7 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $mask (v128.const i32x4 -1 -1 -1 -1))
      (local.set $row (i32.add (local.get $row) (i32.const 128)))
      (br_if $rows (i32.ne (local.get $row) (local.get $end))))

    ;; Two rounds of zeros.
    (loop $zeros
      (local.set $t (local.get $s0))
      (local.set $s0 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s1))
      (local.set $s1 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s2))
      (local.set $s2 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s3))
      (local.set $s3 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s4))
      (local.set $s4 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s5))
      (local.set $s5 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s6))
      (local.set $s6 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $t (local.get $s7))
      (local.set $s7 (v128.xor (i32x4.mul (local.get $t) (local.get $prime)) (i32x4.shr_u (local.get $t) (i32.const 17))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $zeros (i32.ne (local.get $round) (i32.const 2))))

    ;; Fold, mix the block number in, reduce to 1..65535.
    (local.set $t
      (v128.xor
        (v128.xor (v128.xor (local.get $s0) (local.get $s1)) (v128.xor (local.get $s2) (local.get $s3)))
        (v128.xor (v128.xor (local.get $s4) (local.get $s5)) (v128.xor (local.get $s6) (local.get $s7)))))
    (i32.add
      (i32.rem_u
        (i32.xor
          (local.get $blockNumber)
          (i32.xor
            (i32.xor (i32x4.extract_lane 0 (local.get $t)) (i32x4.extract_lane 1 (local.get $t)))
            (i32.xor (i32x4.extract_lane 2 (local.get $t)) (i32x4.extract_lane 3 (local.get $t)))))
        (i32.const 65535))
      (i32.const 1)))

  (func $isAllZero (param $page i32) (param $blockSize i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $page) (local.get $blockSize)))
    (loop $next
      (if (v128.any_true (v128.load (local.get $page))) (then (return (i32.const 0))))
      (local.set $page (i32.add (local.get $page) (i32.const 16)))
      (br_if $next (i32.ne (local.get $page) (local.get $end))))
    (i32.const 1))

  ;; 1 when flags, lower, upper or special cannot be those of a page.
  (func $isHeaderInsane (param $page i32) (param $blockSize i32) (result i32)
    (local $upper i32) (local $special i32)
    (local.set $upper (i32.load16_u offset=14 (local.get $page)))
    (local.set $special (i32.load16_u offset=16 (local.get $page)))
    (i32.or
      (i32.or
        (i32.gt_u (i32.load16_u offset=12 (local.get $page)) (local.get $upper))
        (i32.gt_u (local.get $upper) (local.get $special)))
      (i32.or
        (i32.gt_u (local.get $special) (local.get $blockSize))
        (i32.ne
          (i32.const 0)
          (i32.or
            (i32.and (local.get $special) (i32.const 7))
            (i32.and (i32.load16_u offset=10 (local.get $page)) (i32.const 0xfff8)))))))

  ;; A PageVerdict. Bit 0 of $mode is VerifyMode.NO_CHECKSUMS.
  (func $verdict (export "verdict")
    (param $page i32) (param $blockNumber i32) (param $mode i32) (param $blockSize i32) (result i32)
    (local $mismatch i32)
    (if (i32.eqz (i32.load16_u offset=14 (local.get $page)))
      (then
        (return (select (i32.const 4) (i32.const 8) (call $isAllZero (local.get $page) (local.get $blockSize))))))
    (if (i32.eqz (i32.and (local.get $mode) (i32.const 1)))
      (then
        (local.set $mismatch
          (i32.ne
            (call $checksum (local.get $page) (local.get $blockNumber) (local.get $blockSize))
            (i32.load16_u offset=8 (local.get $page))))))
    (i32.or
      (local.get $mismatch)
      (i32.shl (call $isHeaderInsane (local.get $page) (local.get $blockSize)) (i32.const 1))))

  ;; How many pages at the start of the run are fine. Bit 1 of $mode is VerifyMode.SCAN.
  (func (export "verifyRun")
    (param $page i32) (param $firstBlock i32) (param $count i32) (param $mode i32) (param $blockSize i32)
    (result i32)
    (local $index i32) (local $fine i32)
    ;; A set of the verdicts that pass, bit n for verdict n: OK, NEW_ZERO and, under SCAN, NEW_NOT_ZERO.
    (local.set $fine
      (select (i32.const 0x111) (i32.const 0x011) (i32.and (local.get $mode) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $index) (local.get $count)))
        (br_if $done
          (i32.eqz
            (i32.and
              (i32.shr_u
                (local.get $fine)
                (call $verdict
                  (local.get $page)
                  (i32.add (local.get $firstBlock) (local.get $index))
                  (local.get $mode)
                  (local.get $blockSize)))
              (i32.const 1))))
        (local.set $page (i32.add (local.get $page) (local.get $blockSize)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (local.get $index)))
