; x2APIC logical ids of more processors than one cluster has (SDM vol. 3A §11.12.10.2): cluster id / 16, member id % 16,
; and who gets an interrupt for a set of members. Neither judge has x2APIC logical ids.
; expect: pass
; cpus: 18
%define kApStacks 18
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

kProcessors equ 18

%macro RDMSR64 1                ; into rax
  mov ecx, %1
  rdmsr
  shl rdx, 32
  or rax, rdx
%endmacro
%macro WAIT_FOR 2               ; until counter [%1] is %2
%%wait:
  pause
  cmp qword [%1], %2
  jb %%wait
%endmacro
; SEND high, low: the whole of ICR
%macro SEND 2
  mov ecx, 0x830
  mov edx, %1
  mov eax, %2
  wrmsr
%endmacro

main:
  SET_GATE 0x60, on_set, 0, 0x8e
  SET_GATE 0x61, on_all, 0, 0x8e
  mov rdi, kProcessors - 1
  call start_aps
  call enter_x2apic
  WAIT_FOR ready, kProcessors
  CHECK_EQ [wrong], 0
  ; Members 0 and 1 of cluster 1: processors 16 and 17.
  SEND 0x00010003, 0x4860
  WAIT_FOR sets, 2
  ; Members 8 and 15 of cluster 0: processors 8 and 15.
  SEND 0x00008100, 0x4860
  WAIT_FOR sets, 4
  ; A member that cluster 1 has not, and a cluster that nobody is in.
  SEND 0x00010004, 0x4860
  SEND 0x00020003, 0x4860
  ; Behind those, in order, so that nobody has one on the way: all but self.
  SEND 0, 0xc4061
  WAIT_FOR alls, kProcessors - 1
  CHECK_EQ [sets], 4
  xor ebx, ebx
.processor:
  movzx eax, byte [set_of + rbx]
  movzx ecx, byte [expected + rbx]
  CHECK_EQ rax, rcx
  inc ebx
  cmp ebx, kProcessors
  jb .processor
  ret

ap_main:
  call enter_x2apic
.sleep:
  sti
  hlt
  jmp .sleep

; And checks that the logical id is what the id says.
enter_x2apic:
  RDMSR64 MSR_APIC_BASE
  or rax, 0xc00
  mov rdx, rax
  shr rdx, 32
  wrmsr
  RDMSR64 0x802
  mov ebx, eax
  mov ecx, eax
  and ecx, 15
  mov esi, 1
  shl esi, cl
  shr ebx, 4
  shl ebx, 16
  or esi, ebx
  RDMSR64 0x80d
  cmp rax, rsi
  je .right
  lock inc qword [wrong]
.right:
  lock inc qword [ready]
  ret

on_set:
  push rax
  push rcx
  push rdx
  RDMSR64 0x802
  lock inc byte [set_of + rax]
  lock inc qword [sets]
  jmp end_of_interrupt
on_all:
  push rax
  push rcx
  push rdx
  lock inc qword [alls]
end_of_interrupt:
  mov ecx, 0x80b
  xor eax, eax
  xor edx, edx
  wrmsr
  pop rdx
  pop rcx
  pop rax
  iretq

section .data
expected: db 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1
section .bss
alignb 8
ready: resq 1
wrong: resq 1
sets: resq 1
alls: resq 1
set_of: resb kProcessors
