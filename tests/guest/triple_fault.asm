; A fault in the delivery of a double fault shuts the processor down: the machine stops (or restarts) and nothing more
; of this program runs.
; expect: shutdown
%include "long.inc"

main:
  SET_GATE DF, 0, 0, 0x0e
  SET_GATE GP, 0, 0, 0x0e
  mov rdx, 0x800000000000
  mov rax, [rdx]
  FAIL
