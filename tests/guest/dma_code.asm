; Code changed by a device's DMA: virtio-rng, polled, fills the immediate of an instruction that has run before. What is
; read there as data is what the instruction must give from then on (a serialising instruction stands between, as SDM
; vol. 3A §9.1.3 asks of code that another agent changes): in a routine run once, in one run often, in the second page
; of an instruction across two, in a page whose other code stays, in the page that waits for the device.
; expect: pass
; options: --rng
; qemu: -device virtio-rng-pci
%include "long.inc"

kBar equ 0xd0000000             ; where the device's registers go: nothing else is there
kDescriptors equ kScratch + 0x100000
kAvailable equ kScratch + 0x101000
kUsed equ kScratch + 0x102000
kCode0 equ kScratch + 0x10000
kRounds equ 40

main:
  call find_device
  call start_device
  call once
  call often
  call across_pages
  call beside
  call in_the_waiting_page
  ret

; mov eax, imm32; ret at rdi.
write_routine:
  mov byte [rdi], 0xb8
  mov dword [rdi + 1], 0x12345678
  mov byte [rdi + 5], 0xc3
  ret

; DMA into the immediate of the routine at rdi; then it must return what is there. r12: how many bytes, r13: from which.
%macro CHANGE_AND_RUN 0
  lea rsi, [rdi + 1]
  add rsi, r13
  mov edx, r12d
  call fetch_random
  call serialise
  xor eax, eax
  call rdi
  mov ecx, [rdi + 1]
  CHECK_EQ rax, rcx
%endmacro

once:
  mov rdi, kCode0
  call write_routine
  call rdi
  CHECK_EQ rax, 0x12345678
  mov r12d, 4
  xor r13d, r13d
  xor ebx, ebx                  ; how often it changed
  mov ebp, kRounds
.round:
  mov r11d, [rdi + 1]
  CHANGE_AND_RUN
  cmp r11d, ecx
  je .same
  inc ebx
.same:
  dec ebp
  jnz .round
  CHECK_EQ rbx, kRounds         ; the same four bytes again: once in four thousand million
  ret

; Run often enough for a translator to take it seriously.
often:
  mov rdi, kCode0 + 0x2000
  call write_routine
  mov r12d, 4
  xor r13d, r13d
  mov ebp, kRounds
.round:
  mov ebx, 3000
  mov r11d, [rdi + 1]
.run:
  xor eax, eax
  call rdi
  cmp eax, r11d
  jne .wrong
  dec ebx
  jnz .run
.wrong:
  CHECK_EQ rbx, 0
  CHANGE_AND_RUN
  dec ebp
  jnz .round
  ret

; The opcode and a byte in the first page, three bytes in the second: DMA into the latter only, and into both.
across_pages:
  mov rdi, kCode0 + 0x4ffe
  call write_routine
  call rdi
  CHECK_EQ rax, 0x12345678
  mov ebp, kRounds
.round:
  mov r12d, 3
  mov r13d, 1
  CHANGE_AND_RUN
  mov r12d, 4
  xor r13d, r13d
  CHANGE_AND_RUN
  dec ebp
  jnz .round
  ret

; Elsewhere in the page: the routine stays as it is.
beside:
  mov rdi, kCode0 + 0x6000
  call write_routine
  mov ebp, kRounds
.round:
  lea rsi, [rdi + 64]
  mov edx, 128
  call fetch_random
  call serialise
  call rdi
  CHECK_EQ rax, 0x12345678
  dec ebp
  jnz .round
  ret

; The loop that waits for the device runs in the page that the device writes.
in_the_waiting_page:
  mov rdi, kCode0 + 0x8000
  call write_routine
  mov rsi, wait_for_device
  mov rdi, kCode0 + 0x8040
  mov ecx, wait_end - wait_for_device
  rep movsb
  mov qword [waiting], kCode0 + 0x8040
  mov rdi, kCode0 + 0x8000
  mov r12d, 4
  xor r13d, r13d
  mov ebp, kRounds
.round:
  call rdi
  CHANGE_AND_RUN
  dec ebp
  jnz .round
  ret

serialise:
  push rbx
  xor eax, eax
  cpuid
  pop rbx
  ret

; ---- The device (virtio 1.2 §4.1, §2.7) ----

; Configuration space: eax is the register's address in the form of port 0xcf8; the value in eax.
pci_read:
  mov dx, 0xcf8
  out dx, eax
  mov dx, 0xcfc
  in eax, dx
  ret
; ecx: the value
pci_write:
  mov dx, 0xcf8
  out dx, eax
  mov dx, 0xcfc
  mov eax, ecx
  out dx, eax
  ret

; Leaves where its registers are in [common_registers] and [notify].
find_device:
  mov ebx, 0x80000000
.slot:
  mov eax, ebx
  call pci_read
  cmp eax, 0x10441af4
  je .found
  cmp eax, 0x10051af4
  je .found
  add ebx, 0x800
  cmp ebx, 0x80010000
  jb .slot
  FAIL                          ; no virtio-rng
.found:
  lea eax, [rbx + 4]
  xor ecx, ecx
  call pci_write
  lea eax, [rbx + 0x34]
  call pci_read
  movzx esi, al
.capability:
  test esi, esi
  jz .walked
  lea eax, [rbx + rsi]
  call pci_read
  mov edi, eax                  ; id, next, length, type
  cmp dil, 9
  jne .next
  mov r8d, edi
  shr r8d, 24
  lea eax, [rbx + rsi + 4]
  call pci_read
  movzx r9d, al                 ; BAR
  lea eax, [rbx + rsi + 8]
  call pci_read
  mov r10d, eax                 ; offset
  cmp r8d, 1
  je .common
  cmp r8d, 2
  jne .next
  lea eax, [rbx + rsi + 16]
  call pci_read
  mov [notify_multiplier], eax
  call bar_address
  add rax, r10
  mov [notify], rax
  jmp .next
.common:
  call bar_address
  add rax, r10
  mov [common_registers], rax
.next:
  shr edi, 8
  movzx esi, dil
  jmp .capability
.walked:
  lea eax, [rbx + 4]
  mov ecx, 6                    ; memory, bus master
  call pci_write
  mov rax, [common_registers]
  test rax, rax
  setnz cl
  mov rax, [notify]
  test rax, rax
  setnz ch
  movzx ecx, cx
  CHECK_EQ rcx, 0x101
  ret

; Puts BAR r9d, of 64 bits, at kBar; rax: there. Firmware may have left it above 4 GiB, where these tests see nothing.
bar_address:
  lea eax, [rbx + r9 * 4 + 0x10]
  mov ecx, kBar
  call pci_write
  lea eax, [rbx + r9 * 4 + 0x14]
  xor ecx, ecx
  call pci_write
  mov eax, kBar
  ret

start_device:
  mov rbx, [common_registers]
  mov byte [rbx + 0x14], 0
.reset:
  cmp byte [rbx + 0x14], 0
  jne .reset
  mov byte [rbx + 0x14], 1      ; ACKNOWLEDGE
  mov byte [rbx + 0x14], 3      ; DRIVER
  mov dword [rbx + 8], 0
  mov dword [rbx + 0xc], 0
  mov dword [rbx + 8], 1
  mov dword [rbx + 0xc], 1      ; VERSION_1 and nothing else
  mov byte [rbx + 0x14], 0xb    ; FEATURES_OK
  movzx eax, byte [rbx + 0x14]
  CHECK_EQ rax, 0xb
  mov word [rbx + 0x16], 0
  movzx eax, word [rbx + 0x18]
  dec eax
  mov [ring_mask], eax
  mov dword [rbx + 0x20], kDescriptors
  mov dword [rbx + 0x24], 0
  mov dword [rbx + 0x28], kAvailable
  mov dword [rbx + 0x2c], 0
  mov dword [rbx + 0x30], kUsed
  mov dword [rbx + 0x34], 0
  movzx eax, word [rbx + 0x1e]
  mul dword [notify_multiplier]
  add [notify], rax
  mov word [rbx + 0x1c], 1
  mov byte [rbx + 0x14], 0xf    ; DRIVER_OK
  mov qword [waiting], wait_for_device
  ret

; Random bytes to rsi, edx of them; the device may give fewer. Keeps rdi, rbx, rbp, r11 to r13.
fetch_random:
  mov r8, kDescriptors
  mov [r8], rsi
  mov [r8 + 8], edx
  mov dword [r8 + 12], 2        ; the device writes
  mov r8, kAvailable
  mov word [r8], 1              ; no interrupts
  movzx eax, word [r8 + 2]
  mov ecx, eax
  and ecx, [ring_mask]
  mov word [r8 + 4 + rcx * 2], 0
  inc eax
  mov [r8 + 2], ax
  mfence
  mov r9, [notify]
  mov word [r9], 0
  mov r8, kUsed
  jmp [waiting]
wait_for_device:
  pause
  cmp [r8 + 2], ax
  jne wait_for_device
  ret
wait_end:

section .bss
alignb 8
common_registers: resq 1
notify: resq 1
waiting: resq 1
notify_multiplier: resd 1
ring_mask: resd 1
