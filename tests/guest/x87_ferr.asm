; With CR0.NE = 0 an x87 error is no exception but FERR#, which a PC makes IRQ 13: it comes before the next waiting
; instruction, or with it; a write to port 0xf0 takes the request back; an error that the handler ended may come again.
; SDM vol. 1 §8.7.2 and appendix D.
; expect: pass
%include "long.inc"

%macro OUTB 2
  mov al, %2
  out %1, al
%endmacro

main:
  SET_GATE 0x7d, on_error, 0, 0x8e
  OUTB 0x20, 0x11               ; vectors 0x70 and 0x78, cascade on 2, 8086 mode
  OUTB 0x21, 0x70
  OUTB 0x21, 4
  OUTB 0x21, 1
  OUTB 0xa0, 0x11
  OUTB 0xa1, 0x78
  OUTB 0xa1, 2
  OUTB 0xa1, 1
  OUTB 0x21, 0xfb               ; only the cascade,
  OUTB 0xa1, 0xdf               ; only IRQ 13
  mov rax, cr0
  and al, ~0x20                 ; NE
  mov cr0, rax
  sti

  call make_pending
  CHECK_EQ [errors], 0
  fwait
  call wait_for_error
  CHECK_EQ [errors], 1
  CHECK_EQ [status], 4          ; zero divide
  fwait                         ; ended by the handler
  CHECK_EQ [errors], 1

  call make_pending             ; and once more
  fwait
  call wait_for_error
  CHECK_EQ [errors], 2

  fninit                        ; one that is ended without waiting is no error
  call make_pending
  fnclex
  fwait
  CHECK_EQ [errors], 2

  cli
  mov rax, cr0
  or al, 0x20
  mov cr0, rax
  ret

make_pending:
  fninit
  fldcw [control]
  fld1
  fldz
  fdivp
  ret

; The interrupt may come a few instructions after the one that met the error.
wait_for_error:
  mov ecx, 1000
.again:
  pause
  loop .again
  ret

on_error:
  push rax
  inc qword [errors]
  fnstsw ax
  and eax, 0x7f
  mov [status], rax
  xor eax, eax
  out 0xf0, al                  ; takes IRQ 13 back
  fnclex
  OUTB 0xa0, 0x20
  OUTB 0x20, 0x20
  pop rax
  iretq

section .data
align 8
control: dq 0x37b               ; zero divide unmasked
errors: dq 0
status: dq 0
