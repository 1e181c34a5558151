; debug-exit STATUS: leaves the machine with STATUS through the debug-exit port (QEMU's isa-debug-exit at 0xf4, so the
; monitor's own exit status is STATUS * 2 + 1). A static ELF program for x86-64 Linux, assembled with `nasm -f bin`;
; Debian's cloud kernel has no /dev/port, which is why this takes a program. Returns 1 if the port is not there or
; access to it is refused.
bits 64
org 0x400000

kPort equ 0xf4

elf_header:
  db 0x7f, "ELF", 2, 1, 1, 0
  times 8 db 0
  dw 2, 62                      ; ET_EXEC, EM_X86_64
  dd 1
  dq start, program_header - elf_header, 0
  dd 0
  dw 64, 56, 1, 64, 0, 0
program_header:
  dd 1, 5                       ; PT_LOAD, readable and executable
  dq 0, elf_header, elf_header, image_size, image_size, 4096

start:
  xor ebx, ebx
  cmp qword [rsp], 2            ; argc
  jb .leave
  mov rsi, [rsp + 16]           ; argv[1]: decimal digits
.digit:
  movzx eax, byte [rsi]
  inc rsi
  sub eax, '0'
  cmp eax, 9
  ja .leave
  imul ebx, ebx, 10
  add ebx, eax
  jmp .digit
.leave:
  mov eax, 173                  ; ioperm(kPort, 1, 1)
  mov edi, kPort
  mov esi, 1
  mov edx, 1
  syscall
  test rax, rax
  jnz .refused
  mov eax, ebx
  out kPort, al
.refused:
  mov eax, 60                   ; exit(1): still here
  mov edi, 1
  syscall

image_size equ $ - $$
