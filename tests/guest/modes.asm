; Every mode in one run: 64-bit, compatibility, 32-bit protected with paging off, PAE, 32-bit paging with 4 MiB pages,
; 16-bit protected, real mode, and back up to 64 bits; in each a piece of code whose result depends on the mode.
; SDM vol. 3A §10.8.5 (leaving and entering IA-32e mode), §10.9 (switching to real mode).
; expect: pass
%include "long.inc"

; `40` is INC EAX in 16 and 32 bits and a REX prefix in 64; the operand size of `b8` tells 16 from 32.
main:
  mov [saved_rsp], rsp
  xor eax, eax
  db 0x40
  nop
  CHECK_EQ rax, 0
  mov rbx, 0x1122334455667788   ; the upper half: kept or lost, it must not come back as something else
  jmp far dword [.to_compat]
align 8
.to_compat:
  dd compat
  dw kCode32

bits 32
%macro EXPECT32 2
  cmp %1, %2
  je %%ok
  mov dword [failed_at], __?LINE?__
  jmp fail32
%%ok:
%endmacro
compat:
  xor eax, eax
  inc eax
  db 0x40
  EXPECT32 eax, 2
  EXPECT32 ebx, 0x55667788
  mov ecx, MSR_EFER
  rdmsr
  and eax, 0x500
  EXPECT32 eax, 0x500
  ; Out of IA-32e mode: paging off (in compatibility mode, on an identity map), LME off.
  mov eax, cr0
  btr eax, 31
  mov cr0, eax
  mov ecx, MSR_EFER
  rdmsr
  test eax, 0x400
  jz .not_active
  mov dword [failed_at], __?LINE?__
  jmp fail32
.not_active:
  and eax, ~0x100
  wrmsr
  mov ax, kData
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, stack_top
  ; PAE: four page directories, of which the second maps the first GiB once more.
  mov dword [pdpte], pd + PTE_P
  mov dword [pdpte + 8], pd + PTE_P
  mov dword [pdpte + 16], 0
  mov dword [pdpte + 24], pd + 4096 * 3 + PTE_P
  mov eax, pdpte
  mov cr3, eax
  mov eax, cr0
  bts eax, 31
  mov cr0, eax
  mov dword [kScratch], 0xabcd1234
  EXPECT32 dword [kScratch + 0x40000000], 0xabcd1234
  ; The directory pointers were read with CR3: a change in memory is not seen before the next load.
  mov dword [pdpte + 8], 0
  EXPECT32 dword [kScratch + 0x40000000], 0xabcd1234
  mov eax, cr0
  btr eax, 31
  mov cr0, eax
  ; 32-bit paging with 4 MiB pages: identity, and the second 4 MiB at 1 GiB.
  mov eax, cr4
  and eax, ~CR4_PAE
  or eax, CR4_PSE
  mov cr4, eax
  xor ecx, ecx
.pd32:
  mov eax, ecx
  shl eax, 22
  or eax, PTE_P | PTE_W | PTE_PS
  mov [pd32 + ecx * 4], eax
  inc ecx
  cmp ecx, 1024
  jb .pd32
  mov dword [pd32 + 256 * 4], 0x400000 + PTE_P + PTE_W + PTE_PS
  mov eax, pd32
  mov cr3, eax
  mov eax, cr0
  bts eax, 31
  mov cr0, eax
  EXPECT32 dword [kScratch - 0x400000 + 0x40000000], 0xabcd1234
  mov eax, [pd32 + 256 * 4]
  and eax, PTE_A | PTE_D
  EXPECT32 eax, PTE_A
  mov dword [0x40000004], 7
  mov eax, [pd32 + 256 * 4]
  and eax, PTE_A | PTE_D
  EXPECT32 eax, PTE_A | PTE_D
  mov eax, cr0
  btr eax, 31
  mov cr0, eax
  ; 16-bit protected mode, then real mode.
  mov esi, real_code
  mov edi, 0x8000
  mov ecx, real_end - real_code
  cld
  rep movsb
  sidt [saved_idt]
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
%define REAL(label) (label - real_code + 0x8000)
real_code:
  mov ax, 0xffff                ; the operand is 16 bits here
  inc ax
  jnz .wrong
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:REAL(.real)
.real:
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov sp, 0x7000
  ; Segments are paragraphs now, and a move to a segment register changes the base only.
  mov ax, 0x1234
  mov ds, ax
  mov word [0x10], 0xbeef       ; 0x12350
  xor ax, ax
  mov ds, ax
  mov ax, 0x1000
  mov es, ax
  cmp word [es:0x2350], 0xbeef
  jne .wrong
  ; An interrupt through the vector table.
  mov word [0x60 * 4], REAL(.interrupt)
  mov word [0x60 * 4 + 2], 0
  mov bx, 1
  int 0x60
  cmp bx, 2
  jne .wrong
  mov al, 1
  mov [REAL(.fine)], al
.wrong:
  ; And up again.
  lgdt [REAL(.gdt)]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword kCode32:back32
.interrupt:
  inc bx
  iret
align 4
.gdt:
  dw gdt_end - gdt - 1
  dd gdt
.fine: db 0
real_end:

bits 32
back32:
  mov ax, kData
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, stack_top
  EXPECT32 byte [REAL(real_code.fine)], 1
  call enable_long_mode
  jmp kCode64:.long
bits 64
.long:
  mov ax, kData
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov rsp, [saved_rsp]
  lidt [saved_idt]
  TRY
  ud2
  CATCH UD, 0
  PASS                          ; main's return address went with the stack's top

bits 32
fail32:
  mov esp, stack_top
  call enable_long_mode
  jmp kCode64:.long
bits 64
.long:
  mov ax, kData
  mov ds, ax
  mov ss, ax
  mov rsp, stack_top
  mov edi, [failed_at]
  call check_failed

section .data
real_idt:
  dw 0x3ff
  dd 0
section .bss
alignb 4096
pd32: resb 4096
pdpte: resb 32
saved_rsp: resq 1
failed_at: resd 1
saved_idt: resb 10
