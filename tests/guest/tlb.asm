; What must be seen after each kind of invalidation (SDM vol. 3A §4.10.4): an entry may be stale until then, so every
; check here is of something that is required, none of staleness itself. INVLPG, CR3 with and without PCID and its
; no-flush bit, CR4.PGE, INVPCID of all types, rights that grow without any invalidation.
; expect: pass
%include "long.inc"

%macro POINT_AT 1 ; the page under test at kScratch + %1 pages, and touch it
  mov qword [window_pt + 256 * 8], kScratch + (%1) * 4096 + PTE_P + PTE_W
%endmacro
%macro EXPECT_PAGE 1
  CHECK_EQ [rbx], %1
%endmacro

main:
  mov qword [kScratch], 0
  mov qword [kScratch + 4096], 1
  mov qword [kScratch + 8192], 2
  mov rbx, PAGE(0)
  ; INVLPG, at any address in the page.
  POINT_AT 0
  EXPECT_PAGE 0
  POINT_AT 1
  invlpg [rbx + 0x777]
  EXPECT_PAGE 1
  ; CR3
  POINT_AT 2
  mov rax, cr3
  mov cr3, rax
  EXPECT_PAGE 2
  ; From not present to present needs nothing; neither do more rights after the fault that they caused.
  mov qword [window_pt + 256 * 8], 0
  invlpg [rbx]
  TRY
  mov rax, [rbx]
  CATCH PF, 0
  POINT_AT 1
  EXPECT_PAGE 1
  and qword [window_pt + 256 * 8], ~PTE_W
  invlpg [rbx]
  EXPECT_PAGE 1
  TRY
  mov qword [rbx], 1
  CATCH PF, PF_P | PF_W
  or qword [window_pt + 256 * 8], PTE_W
  mov qword [rbx], 1            ; must not fault a second time
  ; A global page: INVLPG takes it, and so does a change of CR4.PGE.
  mov rax, cr4
  or eax, CR4_PGE
  mov cr4, rax
  POINT_AT 0
  or qword [window_pt + 256 * 8], PTE_G
  invlpg [rbx]
  EXPECT_PAGE 0
  POINT_AT 1
  or qword [window_pt + 256 * 8], PTE_G
  invlpg [rbx]
  EXPECT_PAGE 1
  POINT_AT 2
  mov rax, cr4
  xor eax, CR4_PGE
  mov cr4, rax
  EXPECT_PAGE 2
  POINT_AT 0
  or eax, CR4_PGE
  mov cr4, rax
  EXPECT_PAGE 0
  ; A D bit that software clears: set again by the next write after an invalidation.
  invlpg [rbx]
  mov qword [rbx], 0
  and qword [window_pt + 256 * 8], ~PTE_D
  invlpg [rbx]
  mov qword [rbx], 0
  mov rax, [window_pt + 256 * 8]
  and eax, PTE_D
  CHECK_EQ rax, PTE_D
  ; A higher level: INVLPG drops the paging-structure caches as well.
  mov qword [window_pd], 0
  invlpg [rbx]
  TRY
  mov rax, [rbx]
  CATCH PF, 0
  mov qword [window_pd], window_pt + PTE_P + PTE_W + PTE_U

  mov eax, 1
  xor ecx, ecx
  cpuid
  mov rbx, PAGE(0)
  bt ecx, 17
  jnc .done
  ; PCID: CR4.PCIDE may be set only while CR3's PCID is 0.
  mov rax, cr3
  or rax, 5
  mov cr3, rax
  TRY
  mov rax, cr4
  or eax, CR4_PCIDE
  mov cr4, rax
  CATCH GP, 0
  mov rax, pml4
  mov cr3, rax
  mov rax, cr4
  or eax, CR4_PCIDE
  mov cr4, rax
  ; A second address space with its own window: pml4b, PCID 2; the first becomes PCID 1.
  mov rsi, pml4
  mov rdi, pml4b
  mov ecx, 512
  rep movsq
  mov qword [pml4b + 8], pdptb + PTE_P + PTE_W + PTE_U
  mov qword [pdptb], pdb + PTE_P + PTE_W + PTE_U
  mov qword [pdb], ptb + PTE_P + PTE_W + PTE_U
  mov qword [ptb + 256 * 8], kScratch + 4096 + PTE_P + PTE_W
  POINT_AT 0
  mov rax, pml4 + 1
  mov cr3, rax
  EXPECT_PAGE 0
  mov rax, pml4b + 2
  mov cr3, rax
  EXPECT_PAGE 1
  mov rax, pml4 + 1
  bts rax, 63                   ; no flush: PCID 1's translations are still true
  mov cr3, rax
  EXPECT_PAGE 0
  mov rax, cr3
  CHECK_EQ rax, pml4 + 1        ; bit 63 is not kept
  ; A load of CR3 without it drops that PCID's.
  POINT_AT 2
  mov rax, pml4b + 2
  bts rax, 63
  mov cr3, rax
  EXPECT_PAGE 1
  mov rax, pml4 + 1
  mov cr3, rax
  EXPECT_PAGE 2
  ; INVPCID type 0: one address of another PCID.
  mov eax, 7
  xor ecx, ecx
  cpuid
  mov r12d, ebx
  mov rbx, PAGE(0)
  bt r12d, 10
  jnc .no_invpcid
  mov qword [ptb + 256 * 8], kScratch + 8192 + PTE_P + PTE_W
  mov qword [descriptor], 2
  mov [descriptor + 8], rbx
  xor eax, eax
  invpcid rax, [descriptor]
  mov rax, pml4b + 2
  bts rax, 63
  mov cr3, rax
  EXPECT_PAGE 2
  ; Type 1: all of one PCID. Type 3: of all PCIDs but global. Type 2: everything.
  %assign type 1
  %rep 3
    POINT_AT type - 1
    mov qword [descriptor], 1
    mov qword [descriptor + 8], 0
    mov eax, type
    invpcid rax, [descriptor]
    mov rax, pml4 + 1
    bts rax, 63
    mov cr3, rax
    EXPECT_PAGE type - 1
    mov rax, pml4b + 2
    bts rax, 63
    mov cr3, rax
    EXPECT_PAGE 2
    %assign type type + 1
  %endrep
  TRY
  mov eax, 4
  invpcid rax, [descriptor]
  CATCH GP, 0
  TRY
  mov qword [descriptor], 0x1000 ; more than 12 bits
  mov eax, 1
  invpcid rax, [descriptor]
  CATCH GP, 0
  TRY
  mov qword [descriptor], 1
  mov rax, 0x800000000000
  mov [descriptor + 8], rax
  xor eax, eax
  invpcid rax, [descriptor]
  CATCH GP, 0
.no_invpcid:
  ; CR0.PG cannot be cleared, nor CR4.PAE, nor CR4.LA57 toggled, in 64-bit mode.
  TRY
  mov rax, cr0
  btr rax, 31
  mov cr0, rax
  CATCH GP, 0
  TRY
  mov rax, cr4
  and eax, ~CR4_PAE
  mov cr4, rax
  CATCH GP, 0
.done:
  ret

section .bss
alignb 4096
pml4b: resb 4096
pdptb: resb 4096
pdb: resb 4096
ptb: resb 4096
descriptor: resq 2
