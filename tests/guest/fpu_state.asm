; The x87 and SSE environment as an operating system handles it: CR0.TS and lazy switching, FXSAVE and FXRSTOR with
; their fields and faults, FNSAVE's and FNSTENV's images in 32 bits, the tag word, FOP and the last instruction's
; address, MMX's aliasing. SDM vol. 1 §8.1, §10.5, vol. 3A §13.
; expect: pass
%include "long.inc"

main:
  ; FXSAVE: control, status, abridged tags, MXCSR, the stack's order.
  fninit
  fldpi
  fld1
  mov rax, 0x3ff0000000000000
  movq xmm5, rax
  o64 fxsave [area]
  movzx eax, word [area]
  CHECK_EQ rax, 0x37f
  movzx eax, word [area + 2]
  CHECK_EQ rax, 0x3000          ; TOP is 6
  movzx eax, byte [area + 4]
  CHECK_EQ rax, 0xc0
  mov eax, [area + 24]
  CHECK_EQ rax, 0x1f80
  movzx eax, word [area + 32 + 8]
  CHECK_EQ rax, 0x3fff          ; ST0 = 1
  mov rax, 0x8000000000000000
  CHECK_EQ [area + 32], rax
  mov rax, 0x3ff0000000000000
  CHECK_EQ [area + 160 + 5 * 16], rax
  ; Restored after being spoilt.
  fninit
  pxor xmm5, xmm5
  o64 fxrstor [area]
  movq rcx, xmm5
  CHECK_EQ rcx, rax
  fnstsw ax
  and eax, 0x3800
  CHECK_EQ rax, 0x3000
  fld1
  fcomip st0, st1
  jz .equal
  FAIL
.equal:
  ; Misaligned, and reserved bits of MXCSR.
  TRY
  fxsave [area + 8]
  CATCH GP, 0
  mov dword [area + 24], 0x10000
  TRY
  fxrstor [area]
  CATCH GP, 0
  ; The lazy switch: TS set, the first use faults, CLTS, and the state is there.
  mov dword [area + 24], 0x1f80
  SET_GATE NM, on_nm, 0, 0x8e
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  fld1
  CHECK_EQ [switches], 1
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  movaps xmm0, xmm1
  CHECK_EQ [switches], 2
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  emms
  CHECK_EQ [switches], 3
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  movnti [area], rax            ; no vector register: not subject to TS
  prefetchnta [area]
  lfence
  CHECK_EQ [switches], 3
  o64 fxsave [area]             ; FXSAVE is
  CHECK_EQ [switches], 4
  SET_GATE NM, stubs + NM * kStubSize, 0, 0x8e
  ; FNSTENV's image: full tags, and the environment's masks afterwards.
  fninit
  fld1
  fldz
  fnstenv [area]
  mov eax, [area + 8]
  CHECK_EQ rax, 0xffff1fff
  mov eax, [area + 4]
  and eax, 0xffff
  CHECK_EQ rax, 0x3000
  fnstcw [area]
  movzx eax, word [area]
  CHECK_EQ rax, 0x37f           ; FNSTENV masks all exceptions: they were
  ; FNSAVE initialises.
  fnsave [area]
  fnstsw ax
  movzx eax, ax
  CHECK_EQ rax, 0
  frstor [area]
  fnstsw ax
  and eax, 0x3800
  CHECK_EQ rax, 0x3000
  ; MMX: registers are the significands, exponents become all ones, tags all valid, TOP 0; EMMS empties.
  fninit
  mov rax, 0x123456789abcdef0
  movq mm3, rax
  o64 fxsave [area]
  CHECK_EQ [area + 32 + 3 * 16], rax
  movzx ecx, word [area + 32 + 3 * 16 + 8]
  CHECK_EQ rcx, 0xffff
  movzx ecx, byte [area + 4]
  CHECK_EQ rcx, 0xff
  emms
  o64 fxsave [area]
  movzx ecx, byte [area + 4]
  CHECK_EQ rcx, 0
  ; The address of the last non-control instruction.
  fninit
.last:
  fld1
  fnstcw [word_]
  o64 fxsave [area]
  mov rax, .last
  CHECK_EQ [area + 8], rax
  ret

on_nm:
  inc qword [switches]
  clts
  iretq

section .bss
alignb 16
area: resb 512
switches: resq 1
word_: resd 1
