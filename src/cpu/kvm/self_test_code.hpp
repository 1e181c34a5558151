// The self-test's guest code, assembled by hand; each comment is the instruction.
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum::kvm::self_test {

inline constexpr u16 kPort = 0x5e1f;
inline constexpr u64 kMmio = 0x10000000;  ///< no RAM there
inline constexpr u32 kWritten = 0x600d;
inline constexpr u32 kMsrValue = 0x12345678;
inline constexpr u32 kLoops = 1'000'000;

// Where things are in the 64 KiB.
inline constexpr u64 kCode = 0x1000, kStack = 0x3000, kGdt = 0x3000, kIdt = 0x3800,
                     kTables = 0x8000;    ///< PML4, PDPT, PD, PT: one page each
inline constexpr u64 kUnmapped = 0x5000;  ///< the handler maps it

// clang-format off
inline constexpr std::array<u8, 11> kRealMode{
    0xb8, 0x34, 0x12,        // mov ax, 0x1234
    0x05, 0x11, 0x11,        // add ax, 0x1111
    0xba, 0x1f, 0x5e,        // mov dx, kPort
    0xef,                    // out dx, ax
    0xf4,                    // hlt
};
inline constexpr u32 kRealModeAnswer = 0x2345;

inline constexpr std::array<u8, 28> kProtectedMode{
    0xb8, 0x0d, 0x60, 0x00, 0x00,              // mov eax, kWritten
    0xa3, 0x00, 0x00, 0x00, 0x10,              // mov [kMmio], eax
    0xa1, 0x04, 0x00, 0x00, 0x10,              // mov eax, [kMmio + 4]
    0xf7, 0xd0,                                // not eax
    0x66, 0xba, 0x1f, 0x5e,                    // mov dx, kPort
    0xef,                                      // out dx, eax
    0xf4,                                      // hlt
    0x90, 0x90, 0x90, 0x90, 0x90,
};
inline constexpr u32 kMmioRead = 0x0ff1ce00;

inline constexpr std::array<u8, 66> kLongMode{
    0xb9, 0x82, 0x00, 0x00, 0xc0,              // mov ecx, 0xc0000082 (LSTAR)
    0xb8, 0x78, 0x56, 0x34, 0x12,              // mov eax, kMsrValue
    0x31, 0xd2,                                // xor edx, edx
    0x0f, 0x30,                                // wrmsr
    0x31, 0xc0,                                // xor eax, eax
    0x0f, 0x32,                                // rdmsr
    0x66, 0xba, 0x1f, 0x5e,                    // mov dx, kPort
    0xef,                                      // out dx, eax          -> kMsrValue
    0x8b, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00,  // mov eax, [kUnmapped]  -> #PF, repaired
    0x66, 0xba, 0x1f, 0x5e,                    // mov dx, kPort
    0xef,                                      // out dx, eax          -> kWritten
    0xb9, 0x40, 0x42, 0x0f, 0x00,              // again: mov ecx, kLoops
    0xef,                                      // out dx, eax: the time starts
    0x0f, 0x1f, 0x40, 0x00,                    // nop
    0xff, 0xc9,                                // dec ecx
    0x75, 0xfc,                                // jnz -4
    0xef,                                      // out dx, eax: the time ends
    0xeb, 0xef,                                // jmp again
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
};

// The page fault's handler, at kHandler: makes the page present, reports CR2, returns to the load.
inline constexpr u64 kHandler = 0x2000;
inline constexpr std::array<u8, 32> kFaultHandler{
    0x50,                                      // push rax
    0x52,                                      // push rdx
    0x0f, 0x20, 0xd0,                          // mov rax, cr2
    0x66, 0xba, 0x1f, 0x5e,                    // mov dx, kPort
    0xef,                                      // out dx, eax          -> kUnmapped
    0x80, 0x0c, 0x25, 0x28, 0xb0, 0x00, 0x00, 0x01,  // or byte [0xb028], 1: the page's entry in the page table
    0x5a,                                      // pop rdx
    0x58,                                      // pop rax
    0x48, 0x83, 0xc4, 0x08,                    // add rsp, 8: the error code
    0x48, 0xcf,                                // iretq
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
};
// clang-format on

}  // namespace vellum::kvm::self_test
