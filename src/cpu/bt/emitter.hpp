// Translates one unit: the host code, and the sites where it calls out.
//
//   linked:   (an entry is patched to lead elsewhere when the unit is replaced or out of date)
//             counting: hazards? page's generation? -> leave at the unit's start
//   entered:  counting: budget -= instructions; not enough -> leave at the unit's start
//             instruction ...
//             jump(s): patched to the next unit's `linked` once known, or looked up; calls, and jumps that
//             may close a loop, look for hazards
//   cold:     slow memory accesses, stores that hit code, exits
//
// Where the guest's arithmetic flags are is known at each point: each flag is in the host's flags, packed in
// Context::flags, or both (host_ and packed_; their union is all six). Between units they are in the host's
// flags, and no jump from one to the next changes them: hence LEA, PEXT and JRCXZ where one would expect ADD,
// AND and CMP.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/assert.hpp"
#include "cpu/bt/form.hpp"
#include "cpu/bt/translation_cache.hpp"

namespace vellum::bt {

/// A direct jump, to be patched when its target is translated.
struct LinkSpot {
  std::size_t offset = 0;  ///< of the jump's 32-bit displacement, from the start of the unit's code
  u64 target = 0;
  u32 far = Link::kNear;  ///< Link::far
  u32 vectors = 0;        ///< VectorBits that are known to be loaded there
};

struct UnitSource {
  const interp::Unit& unit;
  const std::vector<interp::Insn>& insns;  ///< the unit's, which every vCPU can run
  u64 linear;
  const std::vector<x86::Decoded>& decoded;  ///< as many as the unit has instructions
  void* translation;                         ///< for Site::translation
  bool wide;                                 ///< 64-bit code; else 32-bit code with flat segments
  bool counted;                              ///< instructions are counted against Context::left
  bool hot;                                  ///< memory operands go through the flat table
  u32 no_flat;                               ///< bit n: but not instruction n's
  u32 no_share;                              ///< bit n: instruction n looks a slot up for itself only
  i32* runs_left;                            ///< leaves before its first instruction once this is negative
  bool shared;                               ///< other vCPUs may run the code while it is patched
  bool host_tsc;                             ///< Context::host_tsc_lead holds
  u32 first_link;                            ///< what the unit's LinkSpots are numbered from
  u32 first_far;                             ///< the same of LinkSpot::far
  bool returns;                              ///< calls and returns are the host's
  bool by_loop;                              ///< the host's LOOP is fast
  const x86::CpuModel& model;
};

class Emitter {
 public:
  /// Sites, and the instructions that they need, are added to `era`.
  Emitter(asmjit::CodeHolder& holder, const Distances& distances, const UnitSource& source, Era& era);

  /// False: something could not be encoded; the unit is to be interpreted.
  bool emit();

  std::size_t linked_offset() const { return 0; }
  std::size_t entered_offset(const asmjit::CodeHolder& holder) const { return holder.labelOffset(entered_); }
  /// Where to jump to if the VectorBits first_vectors() are known to be loaded. Only without count and
  /// runs_left.
  std::size_t checked_offset() const { return checked_; }
  u32 first_vectors() const { return first_vectors_; }
  const std::vector<LinkSpot>& links() const { return links_; }
  u32 far_links() const { return far_links_; }
  /// Offsets where each guest instruction's code begins, the unit's end, and what is out of line.
  const std::vector<u32>& starts() const { return starts_; }
  /// Where code may fault in the host, in ascending order: offsets from the start of the unit's code.
  struct FaultSpot {
    std::size_t begin, end, resume;
    Site* site;
  };
  const std::vector<FaultSpot>& fault_spots() const { return fault_spots_; }
  /// Where to jump to leave with RIP at the unit's start.
  std::size_t refuse_offset(const asmjit::CodeHolder& holder) const { return holder.labelOffset(refuse_); }

 private:
  // emitter.cpp
  void prologue();
  void patchable_entry();
  void count_run();
  void instruction();
  void find_live_flags();
  void cold_code();
  void site_to_scratch(const Site& site);
  Site& make_site(unsigned size, bool write);
  void call_out();

  // emit_flags.cpp
  void pack_host_flags();
  void unpack_host_flags();
  void save_flags(bool address_live = false);
  void need_flags(u64 mask);
  void before_writing(u64 writes, u64 clobbers);
  void after_writing(u64 writes, u64 clobbers);

  // emit_memory.cpp
  void address_of(const ZydisDecodedOperand& operand, bool with_segment = true);
  void add_segment_base(const ZydisDecodedOperand& operand);
  void load_constant(const a::Gp& to, u64 value);
  a::Mem look_up(unsigned size, bool write, bool stack = false);
  void stored();
  void end_access();
  void end_access_of_jump();
  a::Mem memory_operand(const ZydisDecodedOperand& operand, unsigned size, bool write);
  a::Mem stack_operand(const a::Gp& base, i32 disp, bool write);
  unsigned word() const { return source_.wide ? 8 : 4; }
  void move_stack_pointer(i32 by);

  // emit_flat.cpp
  bool flat_here() const;
  a::Mem flat_operand(const ZydisDecodedOperand& operand, unsigned size, bool write);
  void flat_index(const a::Gp& base, i32 first, i32 last, const a::Gp& spare);
  a::Mem flat_access(const a::Gp& base, i64 disp, const a::Gp& spare, unsigned size, bool write);
  a::Mem flat_constant(u64 address, unsigned size, bool write);
  a::Mem shared_access(const a::Gp& base, i64 disp, unsigned size, bool write);
  Site& open_flat(unsigned size, bool write);
  void close_flat();

  // share.cpp
  struct Access {
    unsigned base;  ///< guest register
    i32 disp;
    unsigned size;
  };
  std::optional<Access> plain_access(unsigned n) const;
  void plan_sharing();
  bool flat_at(unsigned n) const;

  // emit_data.cpp
  a::Gp register_operand(const ZydisDecodedOperand& operand);
  void store_borrowed();
  void generic();
  void lea();
  void convert();
  void multiply();
  void exchange_compare();
  void push();
  void pop();
  void leave();
  void push_memory();
  void push_flags();

  // emit_integer.cpp
  void divide();
  void bit_in_memory();
  void exchange_pairs();

  // emit_system.cpp
  void system();
  void require_ring0(const asmjit::Label& otherwise);
  void call_out_at(const asmjit::Label& from, const asmjit::Label& resume);
  void interrupt_flag(bool enable);
  void swap_gs();
  void read_tsc(bool with_aux);
  void read_control_register();
  void read_selector();

  // emit_privilege.cpp
  void privilege();
  void pop_flags();
  void access_flag(bool set);
  void system_call();
  void segment_base_register(x86::Seg seg, bool write);
  void base_msr(bool write);
  void require_canonical(const a::Gp& value, const a::Gp& spare, const asmjit::Label& otherwise);

  // emit_vector.cpp
  u32 vectors_needed(unsigned first) const;
  void check_vectors();
  void load_vectors_again(const asmjit::Label& resume, u64 rip, unsigned first);
  void leave_closed_at(u64 rip, unsigned first);
  void store_fip();
  void vector();
  void load_control();
  void status_to_ax();

  // emit_branch.cpp
  void jump_to(u64 target);
  void leave_to_link(u64 target, u32 number);
  void guard_jump(std::optional<u64> other_page, bool looks, LinkSpot& spot, const asmjit::Label& out,
                  const asmjit::Label& stop);
  u64 direct_target() const;
  bool loops_to(u64 target) const;
  bool polls() const;
  void poll();
  void add_link(LinkSpot spot, const asmjit::Label& out);
  void align_displacement(unsigned opcode);
  void find_jump(const asmjit::Label& miss);
  void target_needs_flags();
  void leave_at(u64 rip);
  u64 half() const { return source_.linear >> 63; }  ///< of the address space
  /// Whether code at `target` may be in other pages than the one that this unit begins in: all of it, or the
  /// end of an instruction that crosses into the next.
  bool leaves_page(u64 target) const {
    return target >> kPageShift != source_.linear >> kPageShift ||
           kPageSize - (target & kPageMask) < x86::kMaxInstructionLength;
  }
  void stop_before(u64 target, const asmjit::Label& stop);
  void jump();
  void jump_if();
  void miss_calls_out(const asmjit::Label& miss, bool flags_in_host = false);
  void jump_indirect();
  void target_to_scratch();

  // emit_call.cpp
  bool pairs_returns() const {
    return source_.returns && source_.wide && x86::is_canonical(next_rip_);  // else RET itself faults
  }
  bool pushes_constant() const;
  void push_return_address();
  void call();
  void call_to(u64 target);
  void expect_return();
  void ret();
  void call_indirect();

  struct Errors final : asmjit::ErrorHandler {
    void handleError(asmjit::Error error, const char* message, asmjit::BaseEmitter*) override {
      VELLUM_ASSERT(error != asmjit::kErrorInvalidDisplacement, "a short jump became too long: {}", message);
      failed = true;
      text = message;
    }
    bool failed = false;
    std::string text;
  } errors_;

  a::Assembler as_;
  const Distances& d_;
  const UnitSource& source_;
  Era& era_;
  asmjit::Label entered_;
  asmjit::Label at_start_;  ///< cold: leave with RIP at the unit's start, flags packed
  asmjit::Label refuse_;    ///< the same, flags in the host's

  // The instruction being translated.
  unsigned n_ = 0;
  const x86::Decoded* insn_ = nullptr;
  const Form* form_ = nullptr;
  u64 next_rip_ = 0;
  std::vector<Form> forms_;
  std::vector<u64> live_;  ///< flags that matter after each instruction

  /// How an instruction's operand shares a slot of the flat table with others.
  struct Share {
    u8 number = 0;         ///< 1 + in Context::shared; 0: it does not
    u8 leader = 0;         ///< the first of those that share
    i32 from = 0, to = 0;  ///< the range of all, relative to this operand's address
  };
  std::vector<Share> shares_;

  u64 host_ = 0;     ///< guest flags that the host's flags hold
  u64 packed_ = 0;   ///< those that Context::flags holds
  u64 unsaved_ = 0;  ///< those that only the host's held before the instruction

  std::size_t last_entry_ = 0;  ///< of patchable_entry()
  std::size_t checked_ = 0;
  u32 first_vectors_ = 0;
  u32 vectors_ = 0;         ///< VectorBits that are known to be loaded
  bool called_out_ = true;  ///< the vector state may be in memory: before the unit, and behind a callout
  std::optional<u64> fip_;  ///< of the last x87 instruction, not yet in the state

  // Scratch registers free for operands in memory, and those to store after the instruction.
  std::vector<a::Gp> scratch_;
  struct Borrowed {
    unsigned gpr;
    a::Gp host;
    bool high;  ///< the second byte
    bool written;
  };
  std::vector<Borrowed> borrowed_;

  // A memory access that is being translated: ends at end_access().
  struct Slow {
    asmjit::Label from, resume, skip;
    Site* site;
    bool restore_flags = false;
  };
  std::optional<asmjit::Label>
      limited_;  ///< where the operand's segment refuses it, perhaps: for its look_up()
  void call_out_if_limited(const Slow& slow);
  std::vector<Slow> slow_;
  bool open_ = false;  ///< the last of slow_ has no end yet
  std::vector<FaultSpot> fault_spots_;
  bool flat_open_ = false;  ///< the last of fault_spots_ has no end yet
  bool flat_ac_ = false;    ///< between STAC and CLAC
  struct CodeStore {
    asmjit::Label from, resume;
    const Site* site;
  };
  std::vector<CodeStore> code_stores_;
  std::vector<std::function<void()>> cold_;
  std::vector<LinkSpot> links_;
  u32 far_links_ = 0;
  const interp::Insn* kept_ =
      nullptr;  ///< in the Era: the instruction being translated, once a Site needs it
  std::vector<u32> starts_;
};

}  // namespace vellum::bt
