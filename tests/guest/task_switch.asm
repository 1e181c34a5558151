; Hardware task switches: by JMP, CALL with IRET back, through a task gate in the GDT, and by an interrupt through a
; task gate; the busy bit, NT, the back link, CR0.TS, what is saved and loaded, and the faults. SDM vol. 3A chapter 7.
; expect: pass
%include "protected.inc"

kTask2 equ kFirstFree
kTask3 equ kFirstFree + 8
kGate equ kFirstFree + 16

%macro MAKE_TASK 2 ; TSS, entry: all of ring 0, its own stack
  mov edi, %1
  mov ecx, 26
  xor eax, eax
  cld
  rep stosd
  mov dword [%1 + 0x20], %2
  mov dword [%1 + 0x24], 2
  mov dword [%1 + 0x28], 0x1111
  mov dword [%1 + 0x2c], 0x2222
  mov dword [%1 + 0x38], %1 + 2048
  mov dword [%1 + 0x3c], 0x5555
  mov word [%1 + 0x48], kData
  mov word [%1 + 0x4c], kCode
  mov word [%1 + 0x50], kData
  mov word [%1 + 0x54], kData
  mov word [%1 + 0x58], kUserData
  mov word [%1 + 0x5c], 0
  mov word [%1 + 0x66], 104
%endmacro
%define CHECK_TYPE CHECK_TYPE_AT __?LINE?__,
%macro CHECK_TYPE_AT 3 ; selector, type byte
  movzx eax, byte [gdt + %2 + 5]
  CHECK_AT %1, eax, %3
%endmacro

main:
  SET_DESCRIPTOR kTask2, tss2, 103, 0x89
  SET_DESCRIPTOR kTask3, tss3, 103, 0x89
  ; CALL, and IRET back.
  MAKE_TASK tss2, called
  mov ebp, 0xbbbb
  mov esi, 0x1234
  stc
  call kTask2:0
.returned:
  CHECK_EQ ebp, 0xbbbb          ; the old task's registers are its own
  CHECK_EQ esi, 0x1234
  CHECK_EQ [seen_link], kTss
  CHECK_EQ [seen_flags], FL_NT | 2
  CHECK_EQ [seen_eax], 0x1111
  CHECK_EQ [seen_ebp], 0x5555
  CHECK_EQ [seen_tr], kTask2
  CHECK_EQ [tss + 0x20], main.returned
  CHECK_EQ [tss + 0x3c], 0xbbbb
  CHECK_TYPE kTss, 0x8b
  CHECK_TYPE kTask2, 0x89
  CHECK_EQ [seen_type_old], 0x8b ; both were busy
  CHECK_EQ [seen_type_new], 0x8b
  CHECK_EQ [seen_ts], CR0_TS
  mov eax, cr0
  and eax, CR0_TS
  CHECK_EQ eax, CR0_TS          ; every switch sets it
  clts
  str ax
  movzx eax, ax
  CHECK_EQ eax, kTss
  pushfd
  pop eax
  and eax, FL_NT
  CHECK_EQ eax, 0
  ; The task goes on after its IRET when it is called again.
  call kTask2:0
  CHECK_EQ [count], 2
  clts
  ; JMP: no link, the old one is not busy any more.
  MAKE_TASK tss2, jumped_to
  jmp kTask2:0
.back:
  CHECK_EQ [seen_flags], 2
  CHECK_EQ [seen_type_old], 0x89
  CHECK_TYPE kTss, 0x8b
  CHECK_TYPE kTask2, 0x89
  clts
  ; Through a task gate.
  mov dword [gdt + kGate], kTask2 << 16
  mov dword [gdt + kGate + 4], 0x8500
  MAKE_TASK tss2, called
  mov dword [count], 0
  call kGate:0x1234
  CHECK_EQ [count], 1
  clts
  ; By an exception with an error code, which is pushed on the new task's stack.
  MAKE_TASK tss3, on_fault
  SET_GATE GP, kTask3, 0, 0x85
  mov dword [go_on], .after_fault
  mov ax, 0xff8
.fault:
  mov ds, ax
.after_fault:
  CHECK_EQ [seen_error], 0xff8
  CHECK_EQ [seen_eip], main.fault
  SET_GATE GP, kCode, stubs + GP * kStubSize, 0x8e
  clts
  ; By INT n: none is pushed.
  MAKE_TASK tss3, on_int
  SET_GATE 0x40, kTask3, 0, 0x85
  int 0x40
  CHECK_EQ [seen_esp], tss3 + 2048
  clts
  ; Faults: a busy task, one that is not present, a short one, a TSS in no table.
  TRY
  call kTss:0
  CATCH GP, kTss
  TRY
  jmp kTss:0
  CATCH GP, kTss
  SET_DESCRIPTOR kTask2, tss2, 103, 0x09
  TRY
  call kTask2:0
  CATCH NP, kTask2
  SET_DESCRIPTOR kTask2, tss2, 102, 0x89
  TRY
  call kTask2:0
  CATCH TS, kTask2
  SET_DESCRIPTOR kTask2, tss2, 103, 0x89
  CHECK_TYPE kTss, 0x8b
  ; IRET with NT and a back link that is not a busy TSS: #TS.
  mov word [tss], kTask2
  TRY
  pushfd
  or dword [esp], FL_NT
  popfd
  iretd
  CATCH TS, kTask2
  ; Bad contents of the new TSS are faults of the new task: its CS is no code.
  MAKE_TASK tss2, called
  mov word [tss2 + 0x4c], kData
  SET_GATE TS, kTask3, 0, 0x85
  MAKE_TASK tss3, on_bad_task
  mov dword [go_on], .after_bad_task
  call kTask2:0
.after_bad_task:
  CHECK_EQ [seen_error], kData
  CHECK_EQ [seen_link], kTask2
  ret

; Task 2.
called:
  mov [seen_eax], eax
  mov [seen_ebp], ebp
  movzx eax, word [tss2]
  mov [seen_link], eax
  pushfd
  pop dword [seen_flags]
  xor eax, eax
  str ax
  mov [seen_tr], eax
  mov eax, cr0
  and eax, CR0_TS
  mov [seen_ts], eax
  movzx eax, byte [gdt + kTss + 5]
  mov [seen_type_old], eax
  movzx eax, byte [gdt + kTask2 + 5]
  mov [seen_type_new], eax
.again:
  inc dword [count]
  iretd
  jmp .again

jumped_to:
  pushfd
  pop dword [seen_flags]
  movzx eax, byte [gdt + kTss + 5]
  mov [seen_type_old], eax
  jmp kTss:0
; The first task continues behind its JMP, which is main.back.

on_fault:
  pop dword [seen_error]
  mov eax, [tss + 0x20]
  mov [seen_eip], eax
  mov eax, [go_on]
  mov [tss + 0x20], eax
  iretd

on_int:
  mov [seen_esp], esp
  iretd

; The fault came in task 2, which must not be gone back to: leave for the first task by a jump, as if nothing had been.
on_bad_task:
  pop dword [seen_error]
  movzx eax, word [tss3]
  mov [seen_link], eax
  mov byte [gdt + kTss + 5], 0x89
  mov eax, [go_on]
  mov [tss + 0x20], eax
  jmp kTss:0

section .bss
alignb 16
tss2: resb 2048
tss3: resb 2048
seen_link: resd 1
seen_flags: resd 1
seen_eax: resd 1
seen_ebp: resd 1
seen_tr: resd 1
seen_ts: resd 1
seen_type_old: resd 1
seen_type_new: resd 1
seen_error: resd 1
seen_eip: resd 1
seen_esp: resd 1
count: resd 1
go_on: resd 1
