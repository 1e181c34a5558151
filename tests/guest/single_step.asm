; Single step by RFLAGS.TF: a trap after each instruction, the first after the one behind POPF; BS in DR6; none after
; MOV SS, but after the next; one for each iteration of a REP string instruction; INT n and exceptions clear TF; SYSCALL
; masks it by SFMASK. SDM vol. 3B §17.3.1.4.
; expect: pass
%include "long.inc"

%macro STEP_BEGIN 0
  mov qword [steps], 0
  pushfq
  or qword [rsp], FL_TF
  popfq
%endmacro
%define STEP_END STEP_END_AT __?LINE?__,
%macro STEP_END_AT 2 ; line; expected traps: the instructions between, and these three
  pushfq
  and qword [rsp], ~FL_TF
  popfq
  CHECK_AT %1, [steps], (%2) + 3
%endmacro

main:
  mov eax, 0xffff0ff0
  mov dr6, rax
  SET_GATE DB_, on_step, 0, 0x8e
  STEP_BEGIN
  STEP_END 0                    ; PUSHF, AND and POPF: POPF itself runs with TF set
  STEP_BEGIN
  nop
  nop
  STEP_END 2
  mov rax, [dr6_seen]
  CHECK_EQ rax, 0xffff4ff0
  mov rax, dr6
  CHECK_EQ rax, 0xffff4ff0      ; sticky
  ; MOV SS and POP SS.
  mov dx, kData
  STEP_BEGIN
  mov ss, dx
  nop
  STEP_END 1
  ; Taken jumps are one trap like any other.
  STEP_BEGIN
  jmp .jumped
.jumped:
  call .called
  STEP_END 3
  jmp .strings
.called:
  ret
.strings:
  mov rsi, kScratch
  mov rdi, kScratch + 256
  mov ecx, 5
  cld
  STEP_BEGIN
  rep movsb
  STEP_END 5
  xor ecx, ecx
  STEP_BEGIN
  rep movsb
  STEP_END 1
  ; INT n: the handler runs without TF, then the trap comes after its IRET and the next instruction.
  SET_GATE 0x60, on_int, 0, 0x8e
  mov qword [tf_in_handler], -1
  STEP_BEGIN
  int 0x60
  nop
  STEP_END 1                    ; the NOP; IRET has loaded TF and its own trap is that of what follows
  CHECK_EQ [tf_in_handler], 0
  ; A faulting instruction: no step trap of its own.
  mov qword [steps], 0
  TRY
  pushfq
  or qword [rsp], FL_TF
  popfq
  ud2
  CATCH UD, 0
  CHECK_EQ [steps], 0
  mov rax, [trap.rflags]
  and eax, FL_TF
  CHECK_EQ rax, FL_TF
  ret

on_step:
  inc qword [steps]
  push rax
  mov rax, dr6
  mov [dr6_seen], rax
  pop rax
  iretq

on_int:
  pushfq
  pop rax
  and eax, FL_TF
  mov [tf_in_handler], rax
  iretq

section .bss
alignb 8
steps: resq 1
dr6_seen: resq 1
tf_in_handler: resq 1
