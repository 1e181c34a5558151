; Returns that do not go where the last call came from, or find something else there: deep recursion, other targets, other
; stacks, dropped frames, changed code, changed mappings, another privilege.
; expect: pass
%include "long.inc"
kDeepStack equ 0xa00000
kCode1 equ 0xb00000             ; two pages of code, one at a time at PAGE(0)
kCode2 equ 0xb01000
main:
  call deep_recursion
  call elsewhere
  call two_stacks
  call dropped_frames
  call pops_more
  call registers_and_flags
  call indirect
  call changed_code
  call changed_mapping
  call other_privilege
  ret

; More frames than anybody keeps.
deep_recursion:
  mov rbx, rsp
  mov esi, 3
.again:
  mov rsp, kDeepStack
  mov ecx, 50000
  xor eax, eax
  call .down
  CHECK_EQ rax, 50000
  CHECK_EQ rsp, kDeepStack
  dec esi
  jnz .again
  mov rsp, rbx
  ret
.down:
  dec ecx
  jz .bottom
  call .down
.bottom:
  inc rax
  ret

; Behind what follows the call, and to what was never called.
elsewhere:
  mov ecx, 5000
  xor eax, eax
  xor edx, edx
.again:
  call .skips
  add eax, 1                    ; 3 bytes, skipped each second time
  push .to
  ret
  ud2
.to:
  inc rdx
  dec ecx
  jnz .again
  CHECK_EQ rdx, 5000
  CHECK_EQ rax, 2500
  ret
.skips:
  test ecx, 1
  jz .no
  add qword [rsp], 3
.no:
  ret

; Two that call each other's continuation, each on a stack of its own.
two_stacks:
  mov r8, kDeepStack - 0x1000
  mov qword [r8], .other
  xor eax, eax
  xor edx, edx
  mov ecx, 5000
.again:
  inc rax
  call .switch
  dec ecx
  jnz .again
  CHECK_EQ rax, 5000
  CHECK_EQ rdx, 5000
  ret
.other:
  inc rdx
  call .switch
  jmp .other
.switch:
  xchg rsp, r8
  ret

; As longjmp does.
dropped_frames:
  mov ecx, 5000
  xor eax, eax
.again:
  mov rbx, rsp
  call .one
  ud2
.landed:
  inc rax
  dec ecx
  jnz .again
  CHECK_EQ rax, 5000
  ret
.one:
  call .two
  ud2
.two:
  call .three
  ud2
.three:
  mov rsp, rbx
  jmp .landed

pops_more:
  mov ecx, 5000
  mov rbx, rsp
.again:
  push 1
  push 2
  call .callee
  CHECK_EQ rsp, rbx
  dec ecx
  jnz .again
  ret
.callee:
  ret 16

registers_and_flags:
  mov rcx, 0x1234567800000001
  mov rdx, 5000
  xor ebx, ebx
.again:
  stc
  call .keeps
  adc ebx, 0
  cmp edx, -1                   ; CF, and SF of what is below
  call .keeps
  adc ebx, 0
  CHECK_EQ rcx, [.rcx]
  dec rdx
  jnz .again
  CHECK_EQ rbx, 10000
  ret
.keeps:
  ret
align 8
.rcx: dq 0x1234567800000001

indirect:
  mov ecx, 5000
  xor eax, eax
  xor edx, edx
.again:
  mov ebx, ecx
  and ebx, 3
  stc
  call [.table + rbx * 8]
  adc rdx, 0
  mov rsi, .add
  clc
  call rsi
  adc rdx, 0
  dec ecx
  jnz .again
  CHECK_EQ rdx, 5000
  CHECK_EQ rax, 5000 + 1250 * 6
  ret
.zero:
  ret
.one:
  lea rax, [rax + 1]
  ret
.two:
  lea rax, [rax + 2]
  ret
.three:
  lea rax, [rax + 3]
  ret
.add:
  lea rax, [rax + 1]
  ret
align 8
.table: dq .zero, .one, .two, .three

; The callee writes the instruction that it returns to.
changed_code:
  xor edx, edx
  mov ecx, 300
.again:
  call .writes
.changed:
  mov eax, 0x11223344
  cmp eax, ecx
  jne .not
  inc edx
.not:
  dec ecx
  jnz .again
  CHECK_EQ rdx, 300
  ret
.writes:
  mov [.changed + 1], ecx
  ret

; The callee puts another page where it returns to.
changed_mapping:
  mov dword [kCode1], 0x90d3ff90        ; nop; call rbx; nop
  mov dword [kCode1 + 4], 0xc3c0ff48    ; inc rax; ret
  mov dword [kCode2], 0x90d3ff90
  mov dword [kCode2 + 4], 0xc3c2ff48    ; inc rdx; ret
  mov qword [window_pt + 256 * 8], kCode1 + PTE_P
  mov rsi, PAGE(0)
  mov rbx, .flips
  xor eax, eax
  xor edx, edx
  mov ecx, 3000
.again:
  call rsi
  dec ecx
  jnz .again
  CHECK_EQ rax, 1500
  CHECK_EQ rdx, 1500
  mov rbx, .flips_by_cr3
  mov ecx, 1000
.again_by_cr3:
  call rsi
  dec ecx
  jnz .again_by_cr3
  CHECK_EQ rax, 2000
  CHECK_EQ rdx, 2000
  ret
.flips:
  xor qword [window_pt + 256 * 8], kCode1 ^ kCode2
  invlpg [rsi]
  ret
.flips_by_cr3:
  xor qword [window_pt + 256 * 8], kCode1 ^ kCode2
  mov rdi, cr3
  mov cr3, rdi
  ret

; Where the kernel was called from is no place for ring 3 to return to, expected or not.
other_privilege:
  mov ebp, 200
.again:
  TRY
  call .enters
.called_from:
  ud2
  CATCH 14, 0x15, .called_from
  CHECK_EQ [trap.rip], .called_from
  dec ebp
  jnz .again
  ret
.enters:
  ENTER_USER .user
.user:
  mov rax, .called_from
  push rax
  ret
