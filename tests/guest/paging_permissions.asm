; Every combination of U/S, R/W and XD in a 4 KiB page's entry × read, write and fetch × ring 0 and ring 3 × CR0.WP ×
; CR4.SMEP × CR4.SMAP × RFLAGS.AC: allowed or a page fault with the right error code, and A and D as they must be.
; SDM vol. 3A §4.6 (access rights), §4.7 (error code), §4.8 (A and D).
; expect: pass
%include "long.inc"

; The page under test: PAGE(0); r8 pte bits, r9 kind (0 read, 1 write, 2 fetch), r10 user (0, 1), r11 mode bits below.
M_WP equ 1
M_SMEP equ 2
M_SMAP equ 4
M_AC equ 8

main:
  mov byte [kScratch], 0xc3     ; RET, for fetches in ring 0
  mov byte [kScratch + 1], 0xf4 ; HLT, for those in ring 3
  xor r11d, r11d
.mode:
  mov rax, cr0
  and rax, ~CR0_WP
  test r11d, M_WP
  jz .no_wp
  or rax, CR0_WP
.no_wp:
  mov cr0, rax
  mov rax, cr4
  and rax, ~(CR4_SMEP | CR4_SMAP)
  test r11d, M_SMEP
  jz .no_smep
  or rax, CR4_SMEP
.no_smep:
  test r11d, M_SMAP
  jz .no_smap
  or rax, CR4_SMAP
.no_smap:
  mov cr4, rax
  xor r8d, r8d
.pte:
  xor r9d, r9d
.kind:
  xor r10d, r10d
.ring:
  call one_case
  inc r10d
  cmp r10d, 2
  jb .ring
  inc r9d
  cmp r9d, 3
  jb .kind
  inc r8d
  cmp r8d, 16
  jb .pte
  inc r11d
  cmp r11d, 16
  jb .mode
  CHECK_EQ [cases], 16 * 16 * 3 * 2
  ret

; r8: bit 0 present, 1 writable, 2 user, 3 execute disable.
one_case:
  inc qword [cases]
  mov rax, kScratch
  mov edx, r8d
  and edx, 7
  or rax, rdx
  test r8d, 8
  jz .executable
  mov rdx, PTE_NX
  or rax, rdx
.executable:
  mov [entry], rax
  mov [window_pt + 256 * 8], rax
  mov rbx, PAGE(0)
  invlpg [rbx]
  call expectation              ; error code in r12, -1: none
  mov qword [trap.vector], -1
  mov qword [trap.resume], .done
  mov [trap.rsp], rsp
  pushfq
  and qword [rsp], ~FL_AC
  test r11d, M_AC
  jz .no_ac
  or qword [rsp], FL_AC
.no_ac:
  popfq
  test r10d, r10d
  jnz .user
  cmp r9d, 1
  jb .read
  je .write
  call rbx
  jmp .not_faulted
.read:
  mov al, [rbx + 1]
  jmp .not_faulted
.write:
  mov byte [rbx + 1], 0xf4
.not_faulted:
  mov qword [trap.resume], 0
.done:
  pushfq
  and qword [rsp], ~FL_AC
  popfq
  ; What happened, against r12.
  cmp r12, -1
  je .must_succeed
  CHECK_EQ [trap.vector], PF
  CHECK_EQ [trap.error], r12
  cmp r9d, 2
  je .fetch_address
  lea rax, [rbx + 1]
  cmp r10d, 0
  je .at
.fetch_address:
  mov rax, rbx
  add rax, r10                  ; ring 3 runs and touches the second byte
.at:
  CHECK_EQ [trap.cr2], rax
  CHECK_EQ [window_pt + 256 * 8], [entry] ; nothing is marked by a fault
  ret
.must_succeed:
  cmp r10d, 0
  je .ring0
  CHECK_EQ [trap.vector], GP    ; ring 3 ends by HLT
  jmp .marks
.ring0:
  CHECK_EQ [trap.vector], -1
.marks:
  mov rax, [entry]
  or rax, PTE_A
  cmp r9d, 1
  jne .clean
  or rax, PTE_D
.clean:
  CHECK_EQ [window_pt + 256 * 8], rax
  ret
.user:
  mov rcx, rbx
  inc rcx
  push kUserData
  push qword [user_rsp]
  pushfq
  push kUser64
  mov rax, USER(user_read)
  mov rdx, USER(user_write)
  cmp r9d, 1
  cmove rax, rdx
  cmp r9d, 2
  cmove rax, rcx
  push rax
  iretq

; r12: the error code by the rules of §4.6.1, or -1.
expectation:
  mov r12d, PF_P
  test r8d, 1
  jnz .present
  xor r12d, r12d
.present:
  test r10d, r10d
  jz .not_user
  or r12d, PF_U
.not_user:
  cmp r9d, 1
  jne .not_write
  or r12d, PF_W
.not_write:
  cmp r9d, 2
  jne .not_fetch
  or r12d, PF_I
.not_fetch:
  test r8d, 1
  jz .fault
  test r10d, r10d
  jnz .ring3
  cmp r9d, 2
  je .supervisor_fetch
  ; Data by the supervisor: SMAP keeps it off user pages unless AC; WP off writable only.
  test r8d, 4
  jz .no_smap
  test r11d, M_SMAP
  jz .no_smap
  test r11d, M_AC
  jz .fault
.no_smap:
  cmp r9d, 1
  jne .fine
  test r8d, 2
  jnz .fine
  test r11d, M_WP
  jnz .fault
  jmp .fine
.supervisor_fetch:
  test r8d, 8
  jnz .fault
  test r8d, 4
  jz .fine
  test r11d, M_SMEP
  jnz .fault
  jmp .fine
.ring3:
  test r8d, 4
  jz .fault
  cmp r9d, 1
  je .user_write
  jb .fine
  test r8d, 8
  jnz .fault
  jmp .fine
.user_write:
  test r8d, 2
  jz .fault
.fine:
  mov r12, -1
.fault:
  ret

user_read:
  mov al, [rcx]
  hlt
user_write:
  mov byte [rcx], 0xf4
  hlt

section .bss
alignb 8
cases: resq 1
entry: resq 1
