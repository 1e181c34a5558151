; x2APIC mode where Bochs 2.7 is not of the SDM's opinion: the logical id that follows from the id, reserved bits of LVT
; entries, divider, self IPI and ICR (#GP), and an ICR that reads back whole. SDM vol. 3A §11.12.1.2 (reserved bits of
; x2APIC registers are checked), §11.12.9, §11.12.10.2.
; expect: pass
%include "long.inc"
%include "apic.inc"

%macro RDMSR64 1                ; into rax
  mov ecx, %1
  rdmsr
  shl rdx, 32
  or rax, rdx
%endmacro
%macro WRITE_FAULTS_AT 3        ; line, MSR, value
  TRY
  WRMSR64 %2, %3
  CATCH_AT %1, GP, 0
%endmacro
%define WRITE_FAULTS WRITE_FAULTS_AT __?LINE?__,

main:
  call apic_enable
  RDMSR64 MSR_APIC_BASE
  or rax, 0xc00
  mov [value], rax
  WRMSR64 MSR_APIC_BASE, [value]
  RDMSR64 0x802
  mov ebx, eax
  mov ecx, ebx
  and ecx, 15
  mov edx, 1
  shl edx, cl
  mov esi, ebx
  shr esi, 4
  shl esi, 16
  or esi, edx
  RDMSR64 0x80d
  CHECK_EQ rax, rsi
  WRITE_FAULTS 0x832, 1 << 20   ; above the timer's mode
  WRITE_FAULTS 0x835, 1 << 17   ; LINT0 has no timer mode
  WRITE_FAULTS 0x837, 1 << 13   ; the error entry has no polarity
  WRITE_FAULTS 0x83e, 4
  WRITE_FAULTS 0x83f, 0x100
  WRITE_FAULTS 0x830, 1 << 12   ; no delivery status
  WRITE_FAULTS 0x830, 1 << 20
  ; To an id that nobody has: nothing is sent, and it reads back.
  mov rax, 0x1234567800004060
  mov [value], rax
  WRMSR64 0x830, [value]
  RDMSR64 0x830
  CHECK_EQ rax, [value]
  ; An illegal vector in SELF IPI is one that was sent (§11.5.3; Bochs says received).
  WRMSR64 0x828, 0
  WRMSR64 0x83f, 5
  WRMSR64 0x828, 0
  RDMSR64 0x828
  CHECK_EQ rax, 1 << 5
  ; Disabled, then xAPIC mode again: the page answers (on Bochs it does not).
  RDMSR64 MSR_APIC_BASE
  and rax, ~0xc00
  mov [value], rax
  WRMSR64 MSR_APIC_BASE, [value]
  or qword [value], 0x800
  WRMSR64 MSR_APIC_BASE, [value]
  APIC_READ eax, APIC_ID
  shr eax, 24
  CHECK_EQ rax, rbx
  ret

section .bss
alignb 8
value: resq 1
