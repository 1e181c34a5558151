; Rights and marks across the levels of the walk: a page is writable, user, executable only if every level says so;
; each level's A is set, D only in the leaf; 2 MiB and 1 GiB pages; reserved bits fault with RSVD at every level, before
; the rights are looked at. SDM vol. 3A §4.5-4.8.
; expect: pass
%include "long.inc"

; Tables of this test: PML4[2] -> t_pdpt[0] -> t_pd[0] -> t_pt[0] -> kScratch.
kBase equ 2 << 39
FULL equ PTE_P | PTE_W | PTE_U

%macro LINK 0
  mov qword [pml4 + 16], t_pdpt + FULL
  mov qword [t_pdpt], t_pd + FULL
  mov qword [t_pd], t_pt + FULL
  mov qword [t_pt], kScratch + FULL
  call flush
%endmacro
; AT_EACH_LEVEL macro: runs it with the address of each level's entry.
%macro AT_EACH_LEVEL 1
  %1 pml4 + 16
  %1 t_pdpt
  %1 t_pd
  %1 t_pt
%endmacro
%macro CLEARED_W 1
  LINK
  and qword [%1], ~PTE_W
  call flush
  TRY
  mov [rbx], al
  CATCH PF, PF_P | PF_W, rbx
  mov al, [rbx]
%endmacro
%macro CLEARED_U 1
  LINK
  and qword [%1], ~PTE_U
  call flush
  mov al, [rbx]
  TRY
  ENTER_USER user_read
  CATCH PF, PF_P | PF_U, rbx
%endmacro
%macro CLEARED_P 1
  LINK
  and qword [%1], ~PTE_P
  call flush
  TRY
  mov al, [rbx]
  CATCH PF, 0, rbx
%endmacro
%macro NOT_EXECUTABLE 1
  LINK
  bts qword [%1], 63
  call flush
  mov al, [rbx]
  TRY
  call rbx
  CATCH PF, PF_P | PF_I, rbx
%endmacro
%macro RESERVED_BIT 1
  LINK
  bts qword [%1], 51            ; above every MAXPHYADDR that is in use
  call flush
  TRY
  mov [rbx], al
  CATCH PF, PF_P | PF_W | PF_RSVD, rbx
  and qword [%1], ~(PTE_U | PTE_W)
  call flush
  TRY
  ENTER_USER user_read
  CATCH PF, PF_P | PF_U | PF_RSVD, rbx
%endmacro

main:
  mov rbx, kBase
  mov byte [kScratch], 0xc3
  LINK
  ; Marks.
  mov al, [rbx]
  CHECK_EQ [pml4 + 16], t_pdpt + FULL + PTE_A
  CHECK_EQ [t_pdpt], t_pd + FULL + PTE_A
  CHECK_EQ [t_pd], t_pt + FULL + PTE_A
  CHECK_EQ [t_pt], kScratch + FULL + PTE_A
  mov byte [rbx], 0xc3          ; a write after a read: D is set in the leaf now
  CHECK_EQ [t_pd], t_pt + FULL + PTE_A
  CHECK_EQ [t_pt], kScratch + FULL + PTE_A + PTE_D
  and qword [t_pt], ~PTE_D
  call flush
  lock or byte [rbx], 0         ; so does a read-modify-write that changes nothing
  CHECK_EQ [t_pt], kScratch + FULL + PTE_A + PTE_D
  AT_EACH_LEVEL CLEARED_W
  AT_EACH_LEVEL CLEARED_U
  AT_EACH_LEVEL CLEARED_P
  AT_EACH_LEVEL NOT_EXECUTABLE
  AT_EACH_LEVEL RESERVED_BIT
  ; PS is reserved in a PML4 entry.
  LINK
  or qword [pml4 + 16], PTE_PS
  call flush
  TRY
  mov al, [rbx]
  CATCH PF, PF_P | PF_RSVD, rbx
  ; A 2 MiB page; its bits 20..13 are reserved, bit 12 is PAT.
  LINK
  mov qword [t_pd], kScratch + FULL + PTE_PS
  call flush
  mov dword [kScratch + 0x123456], 0x1a2b3c4d
  mov eax, [rbx + 0x123456]
  CHECK_EQ rax, 0x1a2b3c4d
  CHECK_EQ [t_pd], kScratch + FULL + PTE_PS + PTE_A
  mov [rbx], byte 0xc3
  CHECK_EQ [t_pd], kScratch + FULL + PTE_PS + PTE_A + PTE_D
  or qword [t_pd], 1 << 13
  call flush
  TRY
  mov al, [rbx]
  CATCH PF, PF_P | PF_RSVD, rbx
  ; A 1 GiB page, if there is such a thing.
  mov eax, 0x80000001
  cpuid
  mov rbx, kBase
  bt edx, 26
  jnc .no_gigabyte
  LINK
  mov qword [t_pdpt], 0 + FULL + PTE_PS
  call flush
  mov eax, [rbx + kScratch + 0x123456]
  CHECK_EQ rax, 0x1a2b3c4d
  CHECK_EQ [t_pdpt], FULL + PTE_PS + PTE_A
  or qword [t_pdpt], 1 << 13
  call flush
  TRY
  mov al, [rbx]
  CATCH PF, PF_P | PF_RSVD, rbx
.no_gigabyte:
  ; XD without EFER.NXE is a reserved bit.
  LINK
  bts qword [t_pt], 63
  mov ecx, MSR_EFER
  rdmsr
  and eax, ~0x800
  wrmsr
  call flush
  TRY
  mov al, [rbx]
  CATCH PF, PF_P | PF_RSVD, rbx
  ; And then a fetch is not told from a read.
  LINK
  and qword [t_pt], ~PTE_P
  call flush
  TRY
  call rbx
  CATCH PF, 0, rbx
  mov ecx, MSR_EFER
  rdmsr
  or eax, 0x800
  wrmsr
  ; An access across two pages of which the second faults: CR2 names the second; nothing is written to the first.
  LINK
  mov qword [kScratch + 0xff8], 0
  mov rdx, kBase + 4096
  TRY
  mov rax, -1
  mov [rbx + 0xffc], rax
  CATCH PF, PF_W, rdx
  CHECK_EQ [kScratch + 0xff8], 0
  ret

flush:
  mov rax, cr3
  mov cr3, rax
  ret

user_read:
  mov rbx, kBase
  mov al, [rbx]
  hlt

section .bss
alignb 4096
t_pdpt: resb 4096
t_pd: resb 4096
t_pt: resb 4096
