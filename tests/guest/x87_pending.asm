; A pending unmasked x87 exception is raised by the next waiting instruction, whichever it is; the no-wait forms run.
; Under CR0.NE = 1 that is #MF. SDM vol. 1 §8.7.
; expect: pass
%include "long.inc"

main:
  call make_pending
  TRY
  fld1
  CATCH MF, 0
  TRY
  fldcw [control]
  CATCH MF, 0
  TRY
  fstp qword [kScratch]
  CATCH MF, 0
  TRY
  emms
  CATCH MF, 0
  TRY
  movq mm0, [control]
  CATCH MF, 0
  fnstcw [control]              ; these do not wait
  fnstsw ax
  fnstenv [kScratch]
  fnsave [kScratch]             ; and this one ends it, as it initialises
  fld1
  call make_pending
  fnclex
  fld1
  call make_pending
  fninit
  fld1
  fninit
  ret

make_pending:
  fninit
  fldcw [control]
  fld1
  fldz
  fdivp
  ret

section .data
control: dq 0x37b
