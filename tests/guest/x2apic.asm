; x2APIC mode: how IA32_APIC_BASE goes there and back, the registers as MSRs with their reserved bits and the accesses
; that fault, the self IPI, priorities, TPR as CR8. IPIs to others: x2apic_ipi. SDM vol. 3A §11.12.
; expect: pass
%include "long.inc"
%include "apic.inc"

%macro RDMSR64 1                ; into rax
  mov ecx, %1
  rdmsr
  shl rdx, 32
  or rax, rdx
%endmacro
%macro READ_FAULTS_AT 2
  TRY
  mov ecx, %2
  rdmsr
  CATCH_AT %1, GP, 0
%endmacro
%define READ_FAULTS READ_FAULTS_AT __?LINE?__,
%macro WRITE_FAULTS_AT 3        ; line, MSR, value
  TRY
  WRMSR64 %2, %3
  CATCH_AT %1, GP, 0
%endmacro
%define WRITE_FAULTS WRITE_FAULTS_AT __?LINE?__,

main:
  mov eax, 1
  cpuid
  bt ecx, 21
  jc .supported
  FAIL
.supported:
  call apic_enable
  SET_GATE 0x60, on_ipi, 0, 0x8e
  SET_GATE 0x61, on_low, 0, 0x8e
  ; In xAPIC mode the MSRs are not there.
  READ_FAULTS 0x802
  WRITE_FAULTS 0x808, 0
  APIC_READ ebx, APIC_ID
  shr ebx, 24
  APIC_READ r12d, kApic + 0x30
  ; EXTD without EN is no mode; reserved bits.
  RDMSR64 MSR_APIC_BASE
  mov rsi, rax
  and rsi, ~0xc00
  or rsi, 0x400
  mov [value], rsi
  WRITE_FAULTS MSR_APIC_BASE, [value]
  or rsi, 0xc01
  mov [value], rsi
  WRITE_FAULTS MSR_APIC_BASE, [value]
  ; Into x2APIC mode.
  RDMSR64 MSR_APIC_BASE
  or rax, 0xc00
  mov [x2base], rax
  WRMSR64 MSR_APIC_BASE, [x2base]
  RDMSR64 MSR_APIC_BASE
  CHECK_EQ rax, [x2base]
  RDMSR64 0x802
  CHECK_EQ rax, rbx             ; all 32 bits of the id, not the top 8
  RDMSR64 0x803
  CHECK_EQ rax, r12
  ; No way back to xAPIC mode but through being disabled.
  mov rsi, [x2base]
  and rsi, ~0x400
  mov [value], rsi
  WRITE_FAULTS MSR_APIC_BASE, [value]
  ; Registers that may only be read, only be written, or are not there.
  WRITE_FAULTS 0x802, 0
  WRITE_FAULTS 0x803, 0
  WRITE_FAULTS 0x80a, 0
  WRITE_FAULTS 0x80d, 1
  WRITE_FAULTS 0x810, 0
  WRITE_FAULTS 0x820, 0
  WRITE_FAULTS 0x839, 0
  READ_FAULTS 0x80b
  READ_FAULTS 0x83f
  READ_FAULTS 0x80e             ; DFR
  WRITE_FAULTS 0x80e, -1
  READ_FAULTS 0x831             ; ICR is one register
  WRITE_FAULTS 0x831, 0
  READ_FAULTS 0x809             ; APR
  READ_FAULTS 0x80c             ; RRD
  READ_FAULTS 0x800
  READ_FAULTS 0x8ff
  WRITE_FAULTS 0x8ff, 0
  ; Reserved bits.
  WRITE_FAULTS 0x808, 0x100
  WRITE_FAULTS 0x808, 1 << 32
  WRITE_FAULTS 0x80b, 1
  WRITE_FAULTS 0x80f, 1 << 32
  WRITE_FAULTS 0x828, 1
  WRITE_FAULTS 0x838, 1 << 32
  ; TPR is CR8.
  WRMSR64 0x808, 0x75
  mov rax, cr8
  CHECK_EQ rax, 7
  mov eax, 3
  mov cr8, rax
  RDMSR64 0x808
  CHECK_EQ rax, 0x30
  RDMSR64 0x80a
  CHECK_EQ rax, 0x30
  WRMSR64 0x808, 0
  ; A self IPI is pending at once; one register shows it.
  WRMSR64 0x83f, 0x60
  RDMSR64 0x823
  CHECK_EQ rax, 1
  sti
  nop
  cli
  CHECK_EQ [ipis], 1
  RDMSR64 0x823
  CHECK_EQ rax, 0
  ; Priorities: in service it holds off the lower and its own class, until EOI.
  SET_GATE 0x70, on_high, 0, 0x8e
  WRMSR64 0x83f, 0x70
  sti
  nop
  cli
  CHECK_EQ [during], 0
  CHECK_EQ [ppr_during], 0x70
  CHECK_EQ [isr_during], 1 << 16
  sti
  nop
  cli
  CHECK_EQ [low], 1
  ; TPR of the vector's own class holds it off.
  WRMSR64 0x808, 0x6f
  WRMSR64 0x83f, 0x61
  sti
  nop
  nop
  cli
  CHECK_EQ [low], 1
  WRMSR64 0x808, 0x5f
  sti
  nop
  cli
  CHECK_EQ [low], 2
  WRMSR64 0x808, 0
  ; Disabled, then xAPIC mode again: the MSRs are gone.
  mov rax, [x2base]
  and rax, ~0xc00
  mov [value], rax
  WRMSR64 MSR_APIC_BASE, [value]
  READ_FAULTS 0x802
  or qword [value], 0x800
  WRMSR64 MSR_APIC_BASE, [value]
  READ_FAULTS 0x802
  ret

on_ipi:
  push rax
  push rcx
  push rdx
  inc qword [ipis]
  WRMSR64 0x80b, 0
  pop rdx
  pop rcx
  pop rax
  iretq
on_low:
  push rax
  push rcx
  push rdx
  inc qword [low]
  WRMSR64 0x80b, 0
  pop rdx
  pop rcx
  pop rax
  iretq
; Asks for a lower one, and one of its own class, while it is in service.
on_high:
  push rax
  push rcx
  push rdx
  mov ecx, 0x80a
  rdmsr
  mov [ppr_during], rax
  mov ecx, 0x813
  rdmsr
  mov [isr_during], rax
  WRMSR64 0x83f, 0x61
  sti
  nop
  nop
  cli
  mov rax, [low]
  mov [during], rax
  WRMSR64 0x80b, 0
  pop rdx
  pop rcx
  pop rax
  iretq

section .bss
alignb 8
value: resq 1
x2base: resq 1
ipis: resq 1
low: resq 1
during: resq 1
ppr_during: resq 1
isr_during: resq 1
