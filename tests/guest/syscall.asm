; SYSCALL and SYSRET: selectors from STAR, RCX and R11, SFMASK, both operand sizes of SYSRET, #UD without EFER.SCE, #GP
; in ring 3 for SYSRET, and a non-canonical RCX. SDM vol. 2B.
; expect: pass
%include "long.inc"

main:
  WRMSR64 MSR_STAR, (kCode64 << 32) | ((kUser32 | 0) << 48)
  WRMSR64 MSR_LSTAR, entry
  WRMSR64 MSR_SFMASK, FL_IF | FL_TF | FL_DF | FL_CF
  mov [saved_rsp], rsp
  ; To ring 3 by SYSRET, back by SYSCALL.
  mov rcx, USER(user)
  mov r11, FL_CF | FL_DF | 2
  mov rsp, [user_rsp]
  o64 sysret
.back:
  mov rsp, [saved_rsp]
  mov rax, USER(user.after)
  CHECK_EQ rcx, rax             ; the address behind SYSCALL
  CHECK_EQ r11, FL_CF | FL_DF | 2
  mov rax, cs
  CHECK_EQ rax, kCode64
  mov rax, ss
  CHECK_EQ rax, kData
  pushfq
  pop rax
  and eax, FL_CF | FL_DF | FL_IF | FL_TF
  CHECK_EQ rax, 0
  CHECK_EQ [user_cs], kUser64
  CHECK_EQ [user_ss], kUserData
  CHECK_EQ rsp, [saved_rsp]
  ; SYSRET with a 32-bit operand: compatibility mode, in the descriptor before SS's.
  mov qword [come_back], .compat
  TRY
  mov ecx, compat_code
  mov r11d, 2
  or dword [pd + 0], PTE_U      ; compatibility mode has 32-bit addresses: open the low map to ring 3
  or dword [pdpt], PTE_U
  or dword [pml4], PTE_U
  mov rax, cr3
  mov cr3, rax
  mov rsp, user_stack_top
  sysret
.compat:
  CATCH UD, 0
  CHECK_EQ [trap.cs], kUser32
  CHECK_EQ [trap.rip], compat_code.ud
  ; RF and VM are not loaded from R11.
  TRY
  mov rcx, USER(user_ud)
  mov r11, FL_RF | FL_VM | 2
  mov rsp, [user_rsp]
  o64 sysret
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_VM
  CHECK_EQ rax, 0
  ; A non-canonical RCX: #GP in ring 0, before anything is loaded.
  TRY
  mov rcx, 0x800000000000
  mov r11, 2
  o64 sysret
  CATCH GP, 0
  CHECK_EQ [trap.cs], kCode64
  ; In ring 3.
  TRY
  ENTER_USER user_sysret
  CATCH GP, 0
  ; Without SCE.
  mov ecx, MSR_EFER
  rdmsr
  and eax, ~1
  wrmsr
  TRY
  o64 sysret
  CATCH UD, 0
  TRY
  syscall
  CATCH UD, 0
  ; LSTAR and CSTAR take canonical addresses only.
  TRY
  WRMSR64 MSR_LSTAR, 0x800000000000
  CATCH GP, 0
  ret

entry:
  jmp main.back

user:
  mov rax, cs
  mov rbx, ss
  mov rdx, USER(user_data)
  mov rdx, kUserBss + user_cs - kBss
  mov [rdx], rax
  mov [rdx + 8], rbx
  ; Flags are those that R11 brought: carry is still set.
  jnc .wrong
  syscall
.after:
.wrong:
  ud2
user_ud:
  ud2
user_sysret:
  o64 sysret
user_data:

bits 32
compat_code:
  mov eax, 0x12345678
  inc eax                       ; 0x40: a REX prefix in 64-bit mode
.ud:
  ud2
bits 64

section .bss
alignb 8
saved_rsp: resq 1
come_back: resq 1
user_cs: resq 1
user_ss: resq 1
