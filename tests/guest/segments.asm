; Segmentation in 32-bit protected mode: limits of byte and page granularity, expand-down, read-only, execute-only and
; conforming segments, null selectors, privilege on loading, the accessed bit, LAR, LSL, VERR, VERW, ARPL, BOUND, INTO.
; SDM vol. 3A §5.3-5.8.
; expect: pass
%include "protected.inc"

kSeg equ kFirstFree

%define LOADS LOADS_AT __?LINE?__,
%macro LOADS_AT 4 ; line; register, selector, vector: must fault with this vector and the selector as error code
  TRY
  mov ax, %3
  mov %2, ax
  CATCH_AT %1, %4, (%3) & ~3
%endmacro

main:
  ; Byte limit: 0x10 bytes.
  SET_DESCRIPTOR kSeg, kScratch, 0xf, 0x4093
  mov ax, kSeg
  mov es, ax
  mov al, [es:0xf]
  mov eax, [es:0xc]
  TRY
  mov al, [es:0x10]
  CATCH GP, 0
  mov ax, kSeg
  mov es, ax
  TRY
  mov eax, [es:0xd]             ; its last byte is beyond
  CATCH GP, 0
  mov ax, kSeg
  mov es, ax
  TRY
  mov eax, [es:0xffffffff]      ; wraps
  CATCH GP, 0
  ; Through SS it is a stack fault.
  SET_DESCRIPTOR kSeg, kScratch, 0xf, 0x40f3
  TRY
  ENTER_USER user_stack
  CATCH SS_, 0
  CHECK_EQ [trap.ss], kSeg | 3
  ; Page granularity.
  SET_DESCRIPTOR kSeg, kScratch, 1, 0xc093
  mov ax, kSeg
  mov es, ax
  mov al, [es:0x1fff]
  TRY
  mov al, [es:0x2000]
  CATCH GP, 0
  ; Expand-down, 32 bits: above the limit to 4 GiB.
  SET_DESCRIPTOR kSeg, 0, 0xfff, 0x4097
  mov ax, kSeg
  mov es, ax
  mov al, [es:0x1000]
  TRY
  mov al, [es:0xfff]
  CATCH GP, 0
  ; Expand-down, 16 bits: to 64 KiB.
  SET_DESCRIPTOR kSeg, kScratch, 0xfff, 0x0097
  mov ax, kSeg
  mov es, ax
  mov al, [es:0xffff]
  TRY
  mov al, [es:0x10000]
  CATCH GP, 0
  ; Read-only data; the accessed bit is set by the load.
  SET_DESCRIPTOR kSeg, kScratch, 0xfff, 0x4090
  mov ax, kSeg
  mov es, ax
  mov al, [gdt + kSeg + 5]
  movzx eax, al
  CHECK_EQ eax, 0x91
  mov al, [es:0]
  TRY
  mov [es:0], al
  CATCH GP, 0
  LOADS ss, kSeg, GP
  ; Code: readable can be loaded for reading, execute-only cannot.
  SET_DESCRIPTOR kSeg, kScratch, 0xfff, 0x409b
  mov ax, kSeg
  mov es, ax
  mov al, [es:0]
  TRY
  mov [es:0], al
  CATCH GP, 0
  SET_DESCRIPTOR kSeg, kScratch, 0xfff, 0x4099
  LOADS es, kSeg, GP
  TRY
  mov byte [cs:data], 1         ; nothing is written through CS
  CATCH GP, 0
  ; Null: loads, but does not serve.
  xor eax, eax
  mov es, ax
  TRY
  mov al, [es:0]
  CATCH GP, 0
  mov ax, 3
  mov es, ax
  LOADS ss, 0, GP
  ; Not present, system types, privilege.
  SET_DESCRIPTOR kSeg, 0, 0xfff, 0x4013
  LOADS es, kSeg, NP
  LOADS ss, kSeg, SS_
  LOADS ds, kTss, GP
  LOADS ss, kUserData, GP
  LOADS es, 0xff8, GP           ; beyond the table
  mov ax, kData
  mov es, ax
  mov ax, kUserData
  mov es, ax
  ; In ring 3: ring 0's data cannot be loaded, conforming code can.
  TRY
  ENTER_USER user_loads_data
  CATCH GP, kData
  SET_DESCRIPTOR kSeg, 0, 0xfffff, 0xc09f
  TRY
  ENTER_USER user_loads_conforming
  CATCH UD, 0
  ; A far jump to a conforming segment of ring 0 keeps ring 3.
  TRY
  ENTER_USER user_jumps_conforming
  CATCH UD, 0
  CHECK_EQ [trap.cs], kSeg | 3
  ; And to one that is not: #GP.
  TRY
  ENTER_USER user_jumps_code
  CATCH GP, kCode
  ; A return to ring 3 nulls data segment registers that ring 3 must not have.
  mov ax, kData
  mov fs, ax
  TRY
  ENTER_USER user_reads_fs
  CATCH UD, 0
  CHECK_EQ ebx, 0

  ; LAR, LSL, VERR, VERW: answers by ZF, never faults.
  mov ebx, kUserData
  lar eax, ebx
  jnz wrong
  and eax, 0x00f0ff00           ; the limit's bits are undefined
  CHECK_EQ eax, 0x00c0f300
  lsl eax, ebx
  jnz wrong
  CHECK_EQ eax, 0xffffffff
  mov ebx, 0xff8
  lar eax, ebx
  jz wrong
  lsl eax, ebx
  jz wrong
  verr bx
  jz wrong
  mov ebx, kTss
  lar eax, ebx
  jnz wrong
  verr bx
  jz wrong
  mov ebx, kCode
  verr bx
  jnz wrong
  verw bx
  jz wrong
  mov ebx, kData
  verw bx
  jnz wrong
  or ebx, 3                     ; RPL 3 against DPL 0
  verw bx
  jz wrong
  lsl eax, ebx
  jz wrong
  ; ARPL
  mov ax, 0x10
  mov bx, 0x23
  arpl ax, bx
  jnz wrong
  movzx eax, ax
  CHECK_EQ eax, 0x13
  arpl ax, bx
  jz wrong
  ; BOUND and INTO.
  mov eax, 5
  bound eax, [bounds]
  TRY
  mov eax, 11
.bound:
  bound eax, [bounds]
  CATCH BR, 0
  CHECK_EQ [trap.eip], main.bound
  TRY
  mov eax, -3
  bound eax, [bounds]
  CATCH BR, 0
  into
  TRY
  mov al, 0x7f
  inc al
.into:
  into
  CATCH OF, 0
  CHECK_EQ [trap.eip], main.into + 1
  ret

wrong:
  FAIL

user_stack:
  mov ax, kSeg | 3
  mov ss, ax
  mov eax, [ss:0x20]
  ud2
user_loads_data:
  mov ax, kData
  mov ds, ax
  ud2
user_loads_conforming:
  mov ax, kSeg | 3
  mov ds, ax
  ud2
user_jumps_conforming:
  jmp kSeg:user_ud
user_jumps_code:
  jmp kCode:user_ud
user_reads_fs:
  xor ebx, ebx
  mov bx, fs
  ud2
user_ud:
  ud2

section .data
align 4
bounds: dd -2, 10
data: dd 0
