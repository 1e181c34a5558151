; The local APIC's timer: one-shot fires once and stops at 0; periodic goes on; the divider; masked it counts but does
; not interrupt; a new initial count restarts it, 0 stops it; TSC-deadline fires after its time, at once if that has
; passed, and disarms itself. Nothing is said of speeds. SDM vol. 3A §11.5.4.
; expect: pass
%include "long.inc"
%include "apic.inc"

main:
  call apic_enable
  SET_GATE 0x53, on_timer, 0, 0x8e
  APIC_WRITE APIC_TIMER_DIVIDE, 0x0b  ; by 1
  ; One-shot.
  APIC_WRITE APIC_LVT_TIMER, 0x53
  APIC_WRITE APIC_TIMER_INITIAL, 100000
  APIC_READ eax, APIC_TIMER_CURRENT
  cmp eax, 100000
  jbe .counting
  FAIL
.counting:
  mov rbx, 1
  call wait_for_ticks
  APIC_READ eax, APIC_TIMER_CURRENT
  CHECK_EQ rax, 0
  call some_time
  CHECK_EQ [ticks], 1
  ; Periodic.
  APIC_WRITE APIC_LVT_TIMER, 0x20053
  APIC_WRITE APIC_TIMER_INITIAL, 200000
  mov rbx, 6
  call wait_for_ticks
  ; Stopped by a count of 0.
  APIC_WRITE APIC_TIMER_INITIAL, 0
  call some_time
  mov rbx, [ticks]
  call some_time
  CHECK_EQ [ticks], rbx
  ; Masked: counts down, does not interrupt.
  APIC_WRITE APIC_LVT_TIMER, 0x10053
  APIC_WRITE APIC_TIMER_INITIAL, 50000
.masked:
  APIC_READ eax, APIC_TIMER_CURRENT
  test eax, eax
  jnz .masked
  sti
  nop
  cli
  CHECK_EQ [ticks], rbx
  ; TSC-deadline.
  mov eax, 1
  xor ecx, ecx
  push rbx
  cpuid
  pop rbx
  bt ecx, 24
  jnc .no_deadline
  mov qword [ticks], 0
  APIC_WRITE APIC_LVT_TIMER, 0x40053
  mfence
  rdtsc
  shl rdx, 32
  or rax, rdx
  add rax, 1000000
  mov rbx, rax
  WRMSR64 MSR_TSC_DEADLINE, rbx
  mov ecx, MSR_TSC_DEADLINE
  rdmsr
  shl rdx, 32
  or rax, rdx
  test rax, rax
  jz .fired                     ; so slow that it has fired by now
  CHECK_EQ rax, rbx
.fired:
  push rbx
  mov ebx, 1
  call wait_for_ticks
  pop rbx
  rdtsc
  shl rdx, 32
  or rax, rdx
  cmp rax, rbx
  jae .not_early
  FAIL
.not_early:
  mov ecx, MSR_TSC_DEADLINE
  rdmsr
  CHECK_EQ rax, 0
  ; In the past: at once.
  WRMSR64 MSR_TSC_DEADLINE, 1
  mov rbx, 2
  call wait_for_ticks
  ; Disarmed by 0; the count registers have no part in this mode.
  mov rax, 0x7fffffffffffffff
  mov rdx, rax
  shr rdx, 32
  mov ecx, MSR_TSC_DEADLINE
  wrmsr
  xor eax, eax
  xor edx, edx
  wrmsr
  APIC_WRITE APIC_TIMER_INITIAL, 1000
  call some_time
  CHECK_EQ [ticks], 2
.no_deadline:
  ret

wait_for_ticks:
  sti
.hlt:
  hlt
  cli
  cmp [ticks], rbx
  jb wait_for_ticks
  ret

some_time:
  sti
  mov ecx, 3000
.again:
  in al, 0x80
  dec ecx
  jnz .again
  cli
  ret

on_timer:
  STEP_OVER_HLT wait_for_ticks.hlt
  inc qword [ticks]
  call apic_eoi
  iretq

section .bss
alignb 8
ticks: resq 1
