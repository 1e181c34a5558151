; The interrupt stack table: a gate's IST index switches the stack even without a change of ring; the frame is aligned
; to 16 bytes; SS is null only after a change of ring. SDM vol. 3A §6.14.
; expect: pass
%include "long.inc"

main:
  ; Without IST: the same stack, aligned.
  mov rbx, rsp
  TRY
  int 0x40
  CATCH 0x40, 0
  CHECK_EQ [trap.old_rsp], rbx
  mov rax, rbx
  and rax, -16
  sub rax, 64
  CHECK_EQ [trap.handler_rsp], rax
  sub rsp, 8
  mov rbx, rsp
  TRY
  int 0x40
  CATCH 0x40, 0
  CHECK_EQ [trap.old_rsp], rbx
  mov rax, rbx
  and rax, -16
  sub rax, 64
  CHECK_EQ [trap.handler_rsp], rax
  add rsp, 8
  ; With IST 1 and 2.
  SET_GATE 0x40, stubs + 0x40 * kStubSize, 1, 0x8e
  TRY
  int 0x40
  CATCH 0x40, 0
  CHECK_EQ [trap.handler_rsp], ist1_top - 64
  CHECK_EQ [trap.ss], kData
  SET_GATE 0x40, stubs + 0x40 * kStubSize, 2, 0x8e
  mov qword [tss + 0x2c], ist2_top - 5     ; aligned on the way
  TRY
  int 0x40
  CATCH 0x40, 0
  CHECK_EQ [trap.handler_rsp], ist2_top - 16 - 64
  ; From ring 3 an IST wins over RSP0.
  SET_GATE UD, stubs + UD * kStubSize, 1, 0x8e
  TRY
  ENTER_USER user
  CATCH UD, 0
  CHECK_EQ [trap.handler_rsp], ist1_top - 64
  SET_GATE UD, read_ss, 0, 0x8e
  mov qword [seen_ss], -1
  mov qword [come_back], .back
  mov [come_back_rsp], rsp
  ENTER_USER user
.back:
  CHECK_EQ [seen_ss], 0                    ; null, with the new ring as RPL
  ; A bad stack: not canonical gives #SS with error code 0, not present a page fault, each on its own stack.
  SET_GATE SS_, stubs + SS_ * kStubSize, 1, 0x8e
  SET_GATE PF, stubs + PF * kStubSize, 1, 0x8e
  mov rax, 0x800000001000
  mov [tss + 0x2c], rax
  TRY
  int 0x40
  CATCH SS_, 0
  mov rax, PAGE(0) + 4096
  mov [tss + 0x2c], rax
  TRY
  int 0x40
  mov rax, PAGE(0) + 4096 - 8
  CATCH PF, PF_W
  mov rax, PAGE(0) + 4096 - 8
  CHECK_EQ [trap.cr2], rax
  ret

read_ss:
  mov ax, ss
  movzx eax, ax
  mov [seen_ss], rax
  mov ax, kData
  mov ss, ax
  mov rsp, [come_back_rsp]
  jmp [come_back]

user:
  ud2

section .bss
alignb 8
seen_ss: resq 1
come_back: resq 1
come_back_rsp: resq 1
