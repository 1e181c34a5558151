; The boot sector that gives Bochs, which loads no multiboot images, a guest test: reads kSectors sectors from the disk
; behind this one to 1 MiB and enters the image as a multiboot loader would (32-bit protected mode, flat segments,
; interrupts off). `nasm -f bin -DkSectors=N`.
bits 16
org 0x7c00

kChunk equ 32                   ; sectors a read, through a buffer at 0x10000

start:
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  mov [drive], dl
  in al, 0x92                   ; A20
  or al, 2
  out 0x92, al
  sti
.read:
  mov si, packet
  mov dl, [drive]
  mov ah, 0x42
  int 0x13
  jc .failed
  cli
  lgdt [gdt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 8:.copy
bits 32
.copy:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov esi, 0x10000
  mov edi, [target]
  mov ecx, kChunk * 512 / 4
  cld
  rep movsd
  mov [target], edi
  add dword [packet.lba], kChunk
  cmp dword [packet.lba], kSectors
  ja .enter
  jmp 0x18:.leave
bits 16
.leave:
  mov ax, 0x20
  mov ds, ax
  mov es, ax
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:.real
.real:
  xor ax, ax
  mov ds, ax
  mov es, ax
  sti
  jmp .read
.failed:
  mov al, '!'
  out 0xe9, al
  hlt
bits 32
.enter:
  mov ss, ax
  mov fs, ax
  mov gs, ax
  mov eax, 0x2badb002
  mov ebx, 0x500
  mov dword [ebx], 0            ; a multiboot information block that says nothing
  jmp [0x100000 + 28]           ; entry_addr of the header

align 4
gdt:
  dq 0
  dq 0x00cf9b000000ffff         ; 08 32-bit code
  dq 0x00cf93000000ffff         ; 10 data
  dq 0x00009b000000ffff         ; 18 16-bit code
  dq 0x000093000000ffff         ; 20 16-bit data
gdt_pointer:
  dw $ - gdt - 1
  dd gdt
packet:
  db 16, 0
  dw kChunk, 0, 0x1000
.lba: dq 1
target: dd 0x100000
drive: db 0
times 510 - ($ - $$) db 0
dw 0xaa55
