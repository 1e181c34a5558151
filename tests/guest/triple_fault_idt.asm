; The classic way to restart a PC: an empty IDT and an exception.
; expect: shutdown
%include "long.inc"

main:
  lidt [nothing]
  int3
  FAIL

section .data
nothing: dw 0
  dq 0
