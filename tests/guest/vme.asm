; Virtual interrupts. In virtual-8086 mode with CR4.VME and IOPL below 3, VIF stands for IF in CLI, STI, PUSHF, POPF and
; IRET of 16 bits; VIP and TF fault where they must; INT n goes by the TSS's redirection bitmap to the program's own
; handler (methods 5 and 6) or to the monitor's (2, 3, 4). In ring 3 with CR4.PVI, CLI and STI work on VIF.
; SDM vol. 3A §20.3, §20.4.
; expect: pass
%include "protected.inc"

kRealBase equ 0x10000           ; where the 16-bit code runs: segment 0x1000
kBitmap equ 104                 ; the redirection bitmap in the TSS; the I/O bitmap behind it
FL_VIF equ 1 << 19
FL_VIP equ 1 << 20
FL_IOPL3 equ 0x3000
CR4_PVI equ 1 << 1
kShown equ FL_VIF | FL_VIP | FL_IF | FL_IOPL3 | FL_VM | FL_TF

%macro ENTER_V86 1-2 0          ; label of 16-bit code, more flags
  push dword 0
  push dword 0
  push dword 0x1000
  push dword 0x1000
  push dword 0x1000             ; SS
  push dword 0xfff0             ; ESP
  push dword FL_VM | (%2) | 2
  push dword 0x1000             ; CS
  push dword %1 - v86_code
  iretd
%endmacro
; V86 label, flags on entry, vector, error, flags after (of kShown): runs to the exception that it must end in
%macro V86_AT 6
  TRY
  ENTER_V86 %2, %3
  CATCH_AT %1, %4, %5
  mov eax, [trap.eflags]
  and eax, kShown
  CHECK_AT %1, eax, FL_VM | (%6)
%endmacro
%define V86 V86_AT __?LINE?__,
%define STACK_WORD(n) (kRealBase + 0xfff0 - 2 * (n))
%macro CHECK_WORD_AT 3          ; line, address, want
  movzx eax, word [%2]
  CHECK_AT %1, eax, %3
%endmacro
%define CHECK_WORD CHECK_WORD_AT __?LINE?__,

main:
  mov esi, v86_code
  mov edi, kRealBase
  mov ecx, v86_end - v86_code
  cld
  rep movsb
  mov word [tss + 0x66], kBitmap + 32
  ; All of the redirection bitmap is ones (protected.inc); vector 0x40 goes to the program, 0x41 does not.
  and byte [tss + kBitmap + 0x40 / 8], 0xfe
  mov dword [0x40 * 4], 0x10000000 | (v86_handler - v86_code)
  mov dword [0x41 * 4], 0x10000000 | (v86_handler - v86_code)
  and byte [tss + kBitmap], ~(1 << 3)  ; INT 3 as CD 03, too
  mov dword [3 * 4], 0x10000000 | (v86_handler - v86_code)
  SET_GATE 0x41, kCode, stubs + 0x41 * kStubSize, 0xee
  SET_GATE BP_, kCode, stubs + BP_ * kStubSize, 0xee
  ; Without VME everything faults below IOPL 3.
  V86 do_cli, FL_VIF, GP, 0, FL_VIF
  mov eax, cr4
  or eax, CR4_VME
  mov cr4, eax
  ; CLI and STI: VIF, not IF.
  V86 do_cli, FL_VIF, UD, 0, 0
  V86 do_cli, FL_VIP, UD, 0, FL_VIP  ; CLI does not mind VIP
  V86 do_cli, FL_VIF | FL_VIP, GP, 0, FL_VIF | FL_VIP  ; both set: before the first instruction
  CHECK_EQ [trap.eip], do_cli - v86_code
  V86 do_sti, 0, UD, 0, FL_VIF
  V86 do_sti, FL_VIP, GP, 0, FL_VIP
  CHECK_EQ [trap.eip], do_sti - v86_code
  ; At IOPL 3 they are as ever.
  V86 do_cli, FL_IOPL3 | FL_VIF | FL_IF, UD, 0, FL_IOPL3 | FL_VIF
  V86 do_sti_cli, FL_IOPL3, UD, 0, FL_IOPL3
  ; PUSHF shows VIF as IF, and IOPL 3; of 32 bits it faults.
  V86 do_pushf, FL_VIF, UD, 0, FL_VIF
  CHECK_WORD STACK_WORD(1), FL_IF | FL_IOPL3 | 2
  V86 do_pushf, FL_IF, UD, 0, FL_IF
  CHECK_WORD STACK_WORD(1), FL_IOPL3 | 2
  V86 do_pushfd, FL_VIF, GP, 0, FL_VIF
  V86 do_popfd, 0, GP, 0, 0
  ; POPF sets VIF; not with VIP pending, and never TF.
  V86 do_popf_if, 0, UD, 0, FL_VIF
  V86 do_popf_0, FL_VIF, UD, 0, 0
  V86 do_popf_0, FL_IF | FL_VIP, UD, 0, FL_IF | FL_VIP
  V86 do_popf_if, FL_VIP, GP, 0, FL_VIP
  V86 do_popf_tf, 0, GP, 0, 0
  ; IRET likewise.
  V86 do_iret_if, 0, UD, 0, FL_VIF
  V86 do_iret_0, FL_VIF, UD, 0, 0
  V86 do_iret_if, FL_VIP, GP, 0, FL_VIP
  V86 do_iret_tf, 0, GP, 0, 0
  V86 do_iretd, 0, GP, 0, 0
  ; INT n, redirected: VIF is cleared and was pushed as IF; IF is left alone.
  V86 do_int40, FL_VIF | FL_IF, UD, 0, FL_IF
  CHECK_EQ [trap.eip], v86_handler - v86_code
  CHECK_EQ [trap.cs], 0x1000
  CHECK_EQ [trap.old_esp], 0xfff0 - 6
  CHECK_WORD STACK_WORD(1), FL_IF | FL_IOPL3 | 2
  CHECK_WORD STACK_WORD(2), 0x1000
  CHECK_WORD STACK_WORD(3), do_int40.next - v86_code
  V86 do_int40, 0, UD, 0, 0
  CHECK_WORD STACK_WORD(1), FL_IOPL3 | 2
  ; At IOPL 3: IF itself.
  V86 do_int40, FL_IOPL3 | FL_VIF | FL_IF, UD, 0, FL_IOPL3 | FL_VIF
  CHECK_EQ [trap.eip], v86_handler - v86_code
  CHECK_WORD STACK_WORD(1), FL_IF | FL_IOPL3 | 2
  ; Not redirected: #GP(0) below IOPL 3, the IDT at IOPL 3.
  V86 do_int41, FL_VIF, GP, 0, FL_VIF
  V86 do_int41, FL_IOPL3, 0x41, 0, FL_IOPL3
  ; INT3 is not INT n: always by the IDT.
  V86 do_int3, 0, BP_, 0, 0
  CHECK_EQ [trap.cs], 0x1000
  V86 do_cd03, 0, UD, 0, 0
  CHECK_EQ [trap.eip], v86_handler - v86_code
  ; The program's handler returns by IRET.
  V86 do_call, FL_VIF, UD, 0, FL_VIF
  CHECK_EQ [trap.eip], do_call.done - v86_code

  ; Protected-mode virtual interrupts.
  %macro USER_AT 6              ; line, label, flags on entry, vector, error, flags after
    TRY
    push dword kUserData
    push dword user_stack_top
    push dword (%3) | 2
    push dword kUserCode
    push dword %2
    iretd
    CATCH_AT %1, %4, %5
    mov eax, [trap.eflags]
    and eax, kShown
    CHECK_AT %1, eax, %6
  %endmacro
  %define USER USER_AT __?LINE?__,
  USER user_cli, FL_VIF, GP, 0, FL_VIF  ; VME says nothing here
  mov eax, cr4
  and eax, ~CR4_VME
  or eax, CR4_PVI
  mov cr4, eax
  USER user_cli, FL_VIF | FL_IF, UD, 0, FL_IF
  USER user_sti, FL_IF, UD, 0, FL_VIF | FL_IF
  USER user_sti, FL_VIP | FL_IF, GP, 0, FL_VIP | FL_IF
  USER user_cli, FL_IOPL3 | FL_VIF | FL_IF, UD, 0, FL_IOPL3 | FL_VIF  ; IOPL 3: IF itself
  ; PUSHF and POPF take no part: the pushed IF is IF, and POPF changes neither.
  USER user_pushf, FL_VIF, UD, 0, FL_VIF
  mov eax, [user_stack_top - 4]
  and eax, FL_IF | FL_IOPL3
  CHECK_EQ eax, 0
  USER user_popf, FL_VIF, UD, 0, FL_VIF
  ; Nor does virtual-8086 mode, without VME.
  V86 do_cli, FL_VIF, GP, 0, FL_VIF
  ; Only ring 3 is meant: in ring 0 CLI and STI are about IF. VIF is as the last trap left it, and POPF's image is not
  ; asked for it.
  push dword 2
  popfd
  sti
  cli
  pushfd
  pop eax
  and eax, FL_VIF | FL_IF
  CHECK_EQ eax, FL_VIF
  ret

user_cli:
  cli
  ud2
user_sti:
  sti
  ud2
user_pushf:
  pushfd
  ud2
user_popf:
  push dword FL_IF | 2
  popfd
  ud2

bits 16
align 16
v86_code:
do_cli:
  cli
  ud2
do_sti:
  sti
  ud2
do_sti_cli:
  sti
  cli
  ud2
do_pushf:
  pushf
  ud2
do_pushfd:
  pushfd
  ud2
do_popfd:
  push dword 2
  popfd
  ud2
do_popf_if:
  push word FL_IF | 2
  popf
  ud2
do_popf_0:
  push word 2
  popf
  ud2
do_popf_tf:
  push word FL_TF | 2
  popf
  ud2
%macro IRET_WITH 1
  push word %1
  push cs
  push word do_ud - v86_code
  iret
%endmacro
do_iret_if:
  IRET_WITH FL_IF | 2
do_iret_0:
  IRET_WITH 2
do_iret_tf:
  IRET_WITH FL_TF | 2
do_iretd:
  push dword 2
  push dword 0x1000
  push dword do_ud - v86_code
  iretd
do_ud:
  ud2
do_int40:
  int 0x40
.next:
  ud2
do_int41:
  int 0x41
  ud2
do_int3:
  int3
  ud2
do_cd03:
  db 0xcd, 3
  ud2
do_call:
  mov word [cs:patch - v86_code], 0x9090  ; NOP, NOP: the handler falls through to its IRET
  int 0x40
.done:
  ud2
v86_handler:
patch:
  ud2
  iret
v86_end:
bits 32
