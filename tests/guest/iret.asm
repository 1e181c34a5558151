; IRET in 64-bit mode: always pops SS and RSP; to every kind of code segment; what it loads into RFLAGS by ring; NT is
; #GP; null, data and not-present selectors, privilege, non-canonical RIP; a null SS is good in ring 0 only; operand
; sizes; and it ends the blocking of nothing but NMIs. SDM vol. 2A.
; expect: pass
%include "long.inc"

; IRETQ with this frame: ss, rsp, rflags, cs, rip
%macro FRAME 5
  push %1
  push %2
  push %3
  push %4
  push %5
%endmacro

main:
  ; In the same ring RSP and SS are popped all the same.
  mov rbx, rsp
  FRAME kData, stack_top - 1024, 2, kCode64, .same
  iretq
.same:
  CHECK_EQ rsp, stack_top - 1024
  mov rsp, rbx
  ; A null SS in ring 0.
  FRAME 0, rbx, 2, kCode64, .null
  iretq
.null:
  mov rax, ss
  CHECK_EQ rax, 0
  mov ax, kData
  mov ss, ax
  ; NT.
  TRY
  push FL_NT | 2
  popfq
  FRAME kData, rbx, 2, kCode64, .same
  iretq
  CATCH GP, 0
  ; Selectors.
  %macro BAD_AT 5 ; line, ss, cs, vector, error
    TRY
    FRAME %2, rbx, 2, %3, main.same
    iretq
    CATCH_AT %1, %4, %5
  %endmacro
  %define BAD BAD_AT __?LINE?__,
  BAD kData, 0, GP, 0
  BAD kData, kData, GP, kData
  BAD kData, 0x800, GP, 0x800
  BAD kData, kTss, GP, kTss
  BAD kData, kCode64 | 3, GP, kCode64
  BAD kData, kUser64 & ~3, GP, kUser64 & ~3
  BAD kUserData, kCode64, GP, kUserData & ~3
  BAD kCode64, kCode64, GP, kCode64
  BAD 0x800, kCode64, GP, 0x800
  BAD 3, kUser64, GP, 0         ; null to ring 3: never
  BAD kData, kUser64, GP, kData
  mov rax, 0x00af1b000000ffff   ; 64-bit code, not present
  mov [gdt + kFirstFree], rax
  BAD kData, kFirstFree, NP, kFirstFree
  mov rax, 0x00ef9b000000ffff   ; L and D both set
  mov [gdt + kFirstFree], rax
  BAD kData, kFirstFree, GP, kFirstFree
  ; A non-canonical target.
  TRY
  mov rax, 0x800000000000
  FRAME kData, rbx, 2, kCode64, rax
  iretq
  CATCH GP, 0
  CHECK_EQ [trap.cs], kCode64
  ; To ring 3, 64 bits and 32 bits.
  TRY
  FRAME kUserData, qword [user_rsp], FL_CF | 2, kUser64, 0
  mov rax, USER(user)
  mov [rsp], rax
  iretq
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_CF | FL_IF
  CHECK_EQ rax, FL_CF
  ; Ring 3's own IRET: to itself only, and it changes neither IOPL nor, below IOPL, IF.
  TRY
  ENTER_USER user_iret
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_IF | 0x3000 | FL_CF
  CHECK_EQ rax, FL_CF
  TRY
  ENTER_USER user_iret_inwards
  CATCH GP, kCode64
  ; To compatibility mode and out of it through a fault: the saved RIP is of 32 bits.
  or dword [pd], PTE_U
  or dword [pdpt], PTE_U
  or dword [pml4], PTE_U
  mov rax, cr3
  mov cr3, rax
  TRY
  FRAME kUserData, user_stack_top, 2, kUser32, user
  iretq
  CATCH UD, 0
  CHECK_EQ [trap.cs], kUser32
  CHECK_EQ [trap.rip], user
  ret

user:
  ud2
user_iret:
  mov rcx, rsp
  mov rax, USER(user)
  FRAME kUserData, rcx, FL_IF | 0x3000 | FL_CF | 2, kUser64, rax
  iretq
user_iret_inwards:
  mov rcx, rsp
  mov rax, USER(user)
  FRAME 0, rcx, 2, kCode64, rax
  iretq
