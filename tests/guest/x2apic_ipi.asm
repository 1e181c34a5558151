; x2APIC mode's interprocessor interrupts by one 64-bit ICR: physical, logical cluster, shorthand, broadcast. Bochs 2.7
; loses ICR's destination, so nobody but the SDM judges this: vol. 3A §11.12.9, §11.12.10.
; expect: pass
; cpus: 2
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

%macro RDMSR64 1                ; into rax
  mov ecx, %1
  rdmsr
  shl rdx, 32
  or rax, rdx
%endmacro
; Waits until counter [%1] is %2.
%macro WAIT_FOR 2
%%wait:
  pause
  cmp qword [%1], %2
  jb %%wait
%endmacro

main:
  mov rdi, 1
  call start_aps
  SET_GATE 0x60, on_ipi, 0, 0x8e
  RDMSR64 MSR_APIC_BASE
  or rax, 0xc00
  mov [value], rax
  WRMSR64 MSR_APIC_BASE, [value]
  ; The other processor follows into x2APIC mode and leaves its ids here.
  mov qword [go], 1
  WAIT_FOR ready, 1
  mov eax, [other_id]
  shl rax, 32
  or rax, 0x4060
  mov [value], rax
  WRMSR64 0x830, [value]        ; physical, fixed, vector 0x60
  WAIT_FOR other_ipis, 1
  mov eax, [other_logical]
  shl rax, 32
  or rax, 0x4860
  mov [value], rax
  WRMSR64 0x830, [value]        ; logical
  WAIT_FOR other_ipis, 2
  mov eax, [other_logical]
  xor eax, 1 << 16              ; another cluster: nobody
  shl rax, 32
  or rax, 0x4860
  mov [value], rax
  WRMSR64 0x830, [value]
  WRMSR64 0x830, 0xc4060        ; all but self
  WAIT_FOR other_ipis, 3
  mov qword [ipis], 0
  mov rax, 0xffffffff00004060
  mov [value], rax
  WRMSR64 0x830, [value]        ; broadcast: both
  WAIT_FOR other_ipis, 4
  sti
  nop
  cli
  CHECK_EQ [ipis], 1
  RDMSR64 0x80d
  mov esi, eax
  or esi, [other_logical]       ; both bits of the cluster
  shl rsi, 32
  or rsi, 0x4860
  mov [value], rsi
  WRMSR64 0x830, [value]
  WAIT_FOR other_ipis, 5
  sti
  nop
  cli
  CHECK_EQ [ipis], 2
  ret

ap_main:
  WAIT_FOR go, 1
  RDMSR64 MSR_APIC_BASE
  or rax, 0xc00
  mov [other_base], rax
  WRMSR64 MSR_APIC_BASE, [other_base]
  RDMSR64 0x802
  mov [other_id], eax
  RDMSR64 0x80d
  mov [other_logical], eax
  sti
  mov qword [ready], 1
.wait:
  pause
  jmp .wait

on_ipi:
  push rax
  push rcx
  push rdx
  mov ecx, 0x80b
  xor eax, eax
  xor edx, edx
  cmp rsp, ap_stacks            ; whose stack it is
  jb .first
  lock inc qword [other_ipis]
  jmp .done
.first:
  inc qword [ipis]
.done:
  wrmsr
  pop rdx
  pop rcx
  pop rax
  iretq

section .bss
alignb 8
value: resq 1
other_base: resq 1
ipis: resq 1
go: resq 1
ready: resq 1
other_ipis: resq 1
other_id: resd 1
other_logical: resd 1
