; IRET to a stack segment that is not present: #SS with its selector, not #NP. QEMU and Bochs both give #NP, as the
; 80386's manual said; today's processors give #SS (seen on the host by an IRET in ring 3 with a selector of the LDT).
; SDM vol. 2A, IRET.
; expect: pass
%include "long.inc"

main:
  mov rax, 0x00cf13000000ffff   ; data, not present
  mov [gdt + kFirstFree], rax
  TRY
  push kFirstFree
  push rsp
  push 2
  push kCode64
  push main
  iretq
  CATCH SS_, kFirstFree
  mov rax, 0x00cf73000000ffff   ; the same for ring 3
  mov [gdt + kFirstFree], rax
  TRY
  push kFirstFree | 3
  push qword [user_rsp]
  push 2
  push kUser64
  push 0
  iretq
  CATCH SS_, kFirstFree
  ret
