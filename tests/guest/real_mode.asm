; Real mode: 20-bit addresses with A20 on and above (0xffff:0x10), the 64 KiB limit as #GP (vector 13) and #SS (12), the
; vector table and its limit, INT, IRET, flags, 32-bit operands and addresses, segment wrap of IP, PUSHA, ENTER, BOUND,
; divide and invalid opcode faults, and big ("unreal") segments that a visit to protected mode leaves. SDM vol. 3A
; chapter 21.
; expect: pass
%include "protected.inc"

%define REAL(label) (label - real_code + 0x8000)

main:
  mov [saved_esp], esp
  mov esi, real_code
  mov edi, 0x8000
  mov ecx, real_end - real_code
  cld
  rep movsb
  lidt [real_idt]
  mov ax, kData16
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov esp, 0x7000
  jmp kCode16:0x8000

bits 16
; EQ a, b: if they differ the line goes out.
%define EQ REAL_CHECK_AT __?LINE?__,
%macro REAL_CHECK_AT 3
  cmp %2, %3
  jz %%ok
  mov word [cs:REAL(failed_line)], %1
  jmp leave_real
%%ok:
%endmacro
; The next instruction must fault with this vector; execution goes on at the label.
%macro FAULTS 2 ; vector, label to go on at
  mov word [cs:REAL(resume)], REAL(%2)
  mov word [cs:REAL(seen_vector)], 0xffff
%endmacro

real_code:
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:REAL(start_real)
start_real:
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov sp, 0x7000
  ; The vector table: 0, 5, 6, 12, 13 and 0x60.
  mov word [0 * 4], REAL(on_0)
  mov word [5 * 4], REAL(on_5)
  mov word [6 * 4], REAL(on_6)
  mov word [12 * 4], REAL(on_12)
  mov word [13 * 4], REAL(on_13)
  mov word [0x60 * 4], REAL(on_int)
  mov word [0 * 4 + 2], 0
  mov word [5 * 4 + 2], 0
  mov word [6 * 4 + 2], 0
  mov word [12 * 4 + 2], 0
  mov word [13 * 4 + 2], 0
  mov word [0x60 * 4 + 2], 0
  ; Addresses: segment * 16 + offset, above 1 MiB too.
  mov ax, 0x2345
  mov ds, ax
  mov dword [0x10], 0x12345678
  mov ax, 0x2340
  mov es, ax
  EQ dword [es:0x60], 0x12345678
  mov ax, 0xffff
  mov es, ax
  mov bx, [es:0x10 + 24]        ; 0x100018: the image's header, its fields at 24
  EQ bx, 0
  mov ebx, [es:0x10]
  EQ ebx, 0x1badb002
  ; Limits.
  FAULTS 13, .word_at_end
  mov ax, [0xffff]
.word_at_end:
  EQ word [cs:REAL(seen_vector)], 13
  FAULTS 13, .beyond
  mov ebx, 0x10000
  mov al, [ebx]
.beyond:
  EQ word [cs:REAL(seen_vector)], 13
  FAULTS 12, .stack
  mov bp, 0xffff
  mov ax, [bp]
.stack:
  EQ word [cs:REAL(seen_vector)], 12
  ; The stack pointer wraps in 16 bits.
  mov sp, 0
  push word 0x1234
  EQ sp, 0xfffe
  pop ax
  EQ ax, 0x1234
  EQ sp, 0
  mov sp, 0x7000
  ; Divide, bound and invalid opcode: the saved IP is the instruction's, no error code.
  FAULTS 0, .divided
  xor cx, cx
.divide:
  div cl
.divided:
  EQ word [cs:REAL(seen_vector)], 0
  EQ word [cs:REAL(saved_ip)], REAL(.divide)
  FAULTS 6, .invalid
.ud:
  ud2
.invalid:
  EQ word [cs:REAL(seen_vector)], 6
  EQ word [cs:REAL(saved_ip)], REAL(.ud)
  FAULTS 5, .bounded
  mov ax, 9
  bound ax, [cs:REAL(limits)]
.bounded:
  EQ word [cs:REAL(seen_vector)], 5
  ; What protected mode alone has.
  FAULTS 6, .no_lldt
  lldt ax
.no_lldt:
  EQ word [cs:REAL(seen_vector)], 6
  FAULTS 6, .no_arpl
  arpl ax, ax
.no_arpl:
  EQ word [cs:REAL(seen_vector)], 6
  ; INT pushes flags, CS and IP; IF and TF go off; IRET brings them back.
  sti
  stc
  int 0x60
.after_int:
  jc .carry
  mov word [cs:REAL(failed_line)], __?LINE?__
  jmp leave_real
.carry:
  cli
  EQ word [cs:REAL(saved_ip)], REAL(.after_int)
  mov ax, [cs:REAL(flags_inside)]
  and ax, FL_IF
  EQ ax, 0
  ; 32-bit operands and addresses.
  xor ax, ax
  mov ds, ax
  mov eax, 0x11111111
  mov ecx, 0x3000
  mov [ecx + eax * 2 - 0x22222222], eax
  EQ dword [0x3000], 0x11111111
  mov si, 0x3000
  mov di, 0x3100
  mov es, ax
  xor ax, ax
  mov es, ax
  mov cx, 1
  cld
  rep movsd
  EQ dword [0x3100], 0x11111111
  ; PUSHA keeps the old SP; ENTER and LEAVE.
  mov bx, sp
  pusha
  mov bp, sp
  EQ [bp + 6], bx
  popa
  mov sp, bx
  mov bp, 0x1234
  enter 8, 1
  mov ax, bx
  sub ax, 2
  EQ bp, ax
  sub ax, 10
  EQ sp, ax
  leave
  EQ bp, 0x1234
  EQ sp, bx
  ; Far calls and returns.
  call 0x700:REAL(.far) - 0x7000
  EQ ax, 0x700
  jmp .after_far
.far:
  mov ax, cs
  retf
.after_far:
  ; LOOP and JCXZ by CX; the same with ECX by a prefix.
  mov ecx, 0x10003
  xor ax, ax
.loop:
  inc ax
  loop .loop
  EQ ax, 3
  EQ ecx, 0x10000
  jcxz .cx_zero
  jmp leave_real_wrong
.cx_zero:
  jecxz .ecx_zero
  jmp .ecx_right
.ecx_zero:
  jmp leave_real_wrong
.ecx_right:
  ; BCD.
  mov al, 0x19
  add al, 0x28
  daa
  EQ al, 0x47
  mov ax, 0x0105
  add al, 9
  aaa
  EQ ax, 0x0204
  mov al, 63
  aam
  EQ ax, 0x0603
  aad
  EQ ax, 63
  ; The interrupt table's limit.
  lidt [cs:REAL(short_idt)]
  FAULTS 13, .short
  int 0x60
.short:
  EQ word [cs:REAL(seen_vector)], 13
  lidt [cs:REAL(full_idt)]
  ; A segment of 4 GiB brought from protected mode stays big.
  lgdt [cs:REAL(gdt_for_real)]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  mov bx, kData
  mov fs, bx
  and al, 0xfe
  mov cr0, eax
  jmp 0:REAL(.unreal)
.unreal:
  mov ebx, kLoad
  EQ dword [fs:ebx], 0x1badb002
  xor ax, ax
  mov fs, ax                    ; the base changes, the limit does not
  EQ dword [fs:ebx], 0x1badb002
  mov word [cs:REAL(failed_line)], 0
  jmp leave_real

leave_real_wrong:
  mov word [cs:REAL(failed_line)], 1
leave_real:
  cli
  lgdt [cs:REAL(gdt_for_real)]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword kCode:back32

%macro HANDLER 1
on_%1:
  mov word [cs:REAL(seen_vector)], %1
  jmp fault
%endmacro
  HANDLER 0
  HANDLER 5
  HANDLER 6
  HANDLER 12
  HANDLER 13
fault:
  pop word [cs:REAL(saved_ip)]
  add sp, 4
  jmp [cs:REAL(resume)]
on_int:
  push bp
  mov bp, sp
  push ax
  mov ax, [bp + 2]
  mov [cs:REAL(saved_ip)], ax
  pushf
  pop word [cs:REAL(flags_inside)]
  pop ax
  pop bp
  iret
align 4
limits: dw 1, 8
failed_line: dw 0xffff
resume: dw 0
seen_vector: dw 0
saved_ip: dw 0
flags_inside: dw 0
short_idt:
  dw 0x60 * 4 + 2
  dd 0
full_idt:
  dw 0x3ff
  dd 0
gdt_for_real:
  dw gdt_end - gdt - 1
  dd gdt
real_end:

bits 32
back32:
  mov ax, kData
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, [saved_esp]
  lidt [idt_pointer]
  movzx eax, word [REAL(failed_line)]
  CHECK_EQ eax, 0               ; a line of the real-mode part
  ret

section .data
real_idt:
  dw 0x3ff
  dd 0
section .bss
saved_esp: resd 1
