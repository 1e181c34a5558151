; 32-bit call gates: parameters copied from the outer stack, 16-bit gates, conforming targets, the stacks of the TSS and
; their faults (#TS with the selector, #SS on too little room), RETF with parameters taken off both stacks, IRET to an
; outer ring with null segments. SDM vol. 3A §5.8.
; expect: pass
%include "protected.inc"

kGate equ kFirstFree
kSmall equ kFirstFree + 8
kCode1 equ kFirstFree + 16

; SET_CALL_GATE target, selector, attributes, parameters
%macro SET_CALL_GATE 4
  mov eax, %1
  mov [gdt + kGate], ax
  mov word [gdt + kGate + 2], %2
  mov byte [gdt + kGate + 4], %4
  mov byte [gdt + kGate + 5], %3
  shr eax, 16
  mov [gdt + kGate + 6], ax
%endmacro

main:
  SET_CALL_GATE from_user, kCode, 0xec, 3
  TRY
  ENTER_USER user_call
  CATCH UD, 0
  CHECK_EQ [seen_esp], stack0_top - 16 - 12
  CHECK_EQ [seen_frame], user_call.after
  CHECK_EQ [seen_frame + 4], kUserCode
  CHECK_EQ [seen_frame + 8], 33
  CHECK_EQ [seen_frame + 12], 22
  CHECK_EQ [seen_frame + 16], 11
  CHECK_EQ [seen_frame + 20], user_stack_top - 12
  CHECK_EQ [seen_frame + 24], kUserData
  CHECK_EQ [trap.old_esp], user_stack_top     ; RETF 12 took them off here too
  CHECK_EQ ebx, 0               ; and DS, which was ring 0's, is null in ring 3
  ; A 16-bit gate: words.
  SET_CALL_GATE from_user16 - kLoad, kSmall, 0xe4, 1
  SET_DESCRIPTOR kSmall, kLoad, 0xffff, 0x409b
  TRY
  ENTER_USER user_call16
  CATCH UD, 0
  CHECK_EQ [seen_esp], stack0_top - 10
  ; DPL, presence, the target's privilege.
  SET_CALL_GATE from_user, kCode, 0x8c, 0
  TRY
  ENTER_USER user_call
  CATCH GP, kGate
  SET_CALL_GATE from_user, kCode, 0x6c, 0
  TRY
  ENTER_USER user_call
  CATCH NP, kGate
  SET_CALL_GATE from_user, kData, 0xec, 0
  TRY
  ENTER_USER user_call
  CATCH GP, kData
  ; A jump may not go inwards.
  SET_CALL_GATE from_user, kCode, 0xec, 0
  TRY
  ENTER_USER user_jump
  CATCH GP, kCode
  ; The stack that the TSS names, here for ring 1, as exceptions need ring 0's: null, of another ring, not present, with
  ; too little room.
  SET_DESCRIPTOR kCode1, 0, 0xfffff, 0xc0bb
  SET_CALL_GATE in_ring1, kCode1, 0xec, 0
  mov dword [tss + 12], 0x800
  mov word [tss + 16], 0
  TRY
  ENTER_USER user_call
  CATCH TS, 0
  mov word [tss + 16], kUserData
  TRY
  ENTER_USER user_call
  CATCH TS, kUserData & ~3
  mov word [tss + 16], kSmall | 1
  SET_DESCRIPTOR kSmall, 0, 0xfffff, 0xc033
  TRY
  ENTER_USER user_call
  CATCH SS_, kSmall
  SET_DESCRIPTOR kSmall, kScratch, 0x700, 0x40b3
  TRY
  ENTER_USER user_call
  CATCH SS_, kSmall
  SET_DESCRIPTOR kSmall, kScratch, 0x7ff, 0x40b3
  TRY
  ENTER_USER user_call          ; arrives in ring 1, where DS is as it was and CLI is not allowed
  CATCH GP, 0
  CHECK_EQ [trap.cs], kCode1 | 1
  CHECK_EQ [trap.ss], kSmall | 1
  CHECK_EQ [trap.old_esp], 0x800 - 16
  ret

from_user:
  mov [seen_esp], esp
  push ds
  mov ax, kData
  mov ds, ax
  mov es, ax
  mov esi, [seen_esp]
  mov edi, seen_frame
  mov ecx, 7
  cld
  rep movsd
  pop eax
  retf 12

in_ring1:
  cli
  ud2

; At an offset of kLoad in its own segment; the frame is of words: ip, cs, one parameter, sp, ss.
from_user16:
  mov [ss:seen_esp], esp        ; DS is null
  ud2

user_call:
  mov ax, kUserData
  mov ds, ax
  mov es, ax
  push dword 11
  push dword 22
  push dword 33
  call kGate | 3:0x12345678
.after:
  xor ebx, ebx
  mov bx, ds
  ud2
user_call16:
  push word 44
  call kGate | 3:0
  ud2
user_jump:
  jmp kGate | 3:0

section .bss
alignb 4
seen_esp: resd 1
seen_frame: resd 7
