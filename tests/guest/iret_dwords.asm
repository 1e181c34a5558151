; IRET with a 32-bit operand in 64-bit mode, to the same ring: its frame is of five dwords, as RSP and SS are popped
; whatever the operand size (seen on the host by an IRETD in ring 3). SDM vol. 2A, IRET.
; expect: pass
%include "long.inc"

main:
  mov rbx, rsp
  mov rsp, kScratch + 256
  sub rsp, 20
  mov dword [rsp], .dwords
  mov dword [rsp + 4], kCode64
  mov dword [rsp + 8], 2
  mov dword [rsp + 12], kScratch + 128
  mov dword [rsp + 16], kData
  iretd
.dwords:
  CHECK_EQ rsp, kScratch + 128
  mov rsp, rbx
  ret
