; SYSENTER and SYSEXIT, from compatibility and 64-bit mode: the selectors from one MSR, the flags, a null MSR, ring 3's
; SYSEXIT, the non-canonical target. And SWAPGS and the FS and GS bases, by MSR and by the FSGSBASE instructions.
; SDM vol. 2B.
; expect: pass
%include "long.inc"

; Selectors from here: CS, SS, and for SYSEXIT in 64 bits CS + 32, SS + 40.
kBaseSel equ kFirstFree

main:
  mov rsi, layout
  mov rdi, gdt + kBaseSel
  mov ecx, 6
  cld
  rep movsq
  WRMSR64 MSR_SYSENTER_CS, 0
  TRY
  ENTER_USER user_sysenter
  CATCH GP, 0
  TRY
  o64 sysexit
  CATCH GP, 0
  WRMSR64 MSR_SYSENTER_CS, kBaseSel
  WRMSR64 MSR_SYSENTER_ESP, stack0_top - 256
  WRMSR64 MSR_SYSENTER_EIP, entry
  mov qword [go_on], .entered
  push 0x3202                   ; IF and IOPL 3, to see IF go
  popfq
  ENTER_USER user_sysenter
.entered:
  CHECK_EQ rsp, stack0_top - 256
  mov rax, cs
  CHECK_EQ rax, kBaseSel
  mov rax, ss
  CHECK_EQ rax, kBaseSel + 8
  pushfq
  pop rax
  and eax, FL_IF | FL_VM | 0x3000
  CHECK_EQ rax, 0x3000
  ; SYSEXIT, 64 bits.
  mov rsp, stack_top - 512
  TRY
  mov rdx, USER(user_ud)
  mov rcx, [user_rsp]
  o64 sysexit
  CATCH UD, 0
  CHECK_EQ [trap.cs], kBaseSel + 32 | 3
  CHECK_EQ [trap.ss], kBaseSel + 40 | 3
  CHECK_EQ [trap.old_rsp], [user_rsp]
  TRY
  mov rdx, 0x800000000000
  mov rcx, [user_rsp]
  o64 sysexit
  CATCH GP, 0
  TRY
  mov rdx, USER(user_ud)
  mov rcx, 0x800000000000
  o64 sysexit
  CATCH GP, 0
  TRY
  ENTER_USER user_sysexit
  CATCH GP, 0
  ; Segment bases.
  WRMSR64 MSR_GS_BASE, kScratch
  WRMSR64 MSR_KERNEL_GS_BASE, kScratch + 64
  mov qword [kScratch], 1
  mov qword [kScratch + 64], 2
  CHECK_EQ [gs:0], 1
  swapgs
  CHECK_EQ [gs:0], 2
  swapgs
  CHECK_EQ [gs:0], 1
  ; Loading a selector replaces the base.
  mov ax, kData
  mov gs, ax
  mov ecx, MSR_GS_BASE
  rdmsr
  CHECK_EQ rax, 0
  WRMSR64 MSR_FS_BASE, kScratch + 64
  CHECK_EQ [fs:0], 2
  TRY
  rdfsbase rax
  CATCH UD, 0
  mov rax, cr4
  or eax, CR4_FSGSBASE
  mov cr4, rax
  rdfsbase rax
  CHECK_EQ rax, kScratch + 64
  mov rax, 0xffff800000001234
  wrgsbase rax
  mov ecx, MSR_GS_BASE
  rdmsr
  shl rdx, 32
  or rax, rdx
  mov rcx, 0xffff800000001234
  CHECK_EQ rax, rcx
  rdgsbase eax
  CHECK_EQ rax, 0x1234          ; the 32-bit form
  TRY
  mov rax, 0x800000000000
  wrfsbase rax
  CATCH GP, 0
  PASS                          ; main's own stack is gone

entry:
  jmp [go_on]
user_sysenter:
  sysenter
user_ud:
  ud2
user_sysexit:
  o64 sysexit

section .data
align 8
layout:
  DESCRIPTOR 0, 0xfffff, 0xa09b
  DESCRIPTOR 0, 0xfffff, 0xc093
  DESCRIPTOR 0, 0xfffff, 0xc0fb
  DESCRIPTOR 0, 0xfffff, 0xc0f3
  DESCRIPTOR 0, 0xfffff, 0xa0fb
  DESCRIPTOR 0, 0xfffff, 0xc0f3
section .bss
alignb 8
go_on: resq 1
