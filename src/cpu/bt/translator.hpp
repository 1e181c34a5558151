// The binary translator: 64-bit guest code becomes host code, a unit at a time, once it has run a few times;
// all else is the interpreter's, which also delivers every event, steps, and watches breakpoints
// (docs/design/binary-translation.md).
#pragma once

#include <memory>
#include <mutex>

#include "cpu/bt/context_numbers.hpp"
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/host_faults.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/bt/return_stack.hpp"
#include "cpu/bt/routines.hpp"
#include "cpu/bt/translation_cache.hpp"
#include "cpu/bt/vcpu_block.hpp"

namespace vellum::bt {

class Translator final : public Engine,
                         private interp::UnitRunner,
                         private HostFaultTaker,
                         private CodeWatcher,
                         private Kicker {
 public:
  /// As interp::Interpreter. `cache`: the VM's; nullptr: this vCPU has its own. All who share one have the
  /// same options, CPU model and address space.
  Translator(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock, const x86::CpuModel& model,
             Hazards& hazards, const Options& options, std::shared_ptr<TranslationCache> cache = nullptr);
  ~Translator() override;

  Exit run(Budget budget) override;
  void pull(StateMask groups, VcpuState& to) override { interp_.pull(groups, to); }
  void push(StateMask groups, const VcpuState& from) override { interp_.push(groups, from); }
  void invalidate(GuestPhysRange range) override;
  /// Only counted code says; what the interpreter alone ran is no figure of anybody's.
  u64 retired() const override { return counted_ ? interp_.retired() : 0; }
  u64 steps() const override { return interp_.steps(); }
  void stats(std::vector<StatRow>& rows) const override;

  Vcpu& vcpu() { return interp_.vcpu(); }

 private:
  interp::Flow run(const interp::Unit& unit, u32 key, u64 limit, u64& done) override;
  void code_changed() override;
  void code_changed(const CodePage& page) override;
  void kick() override;

  bool can_share(const Clock& clock) const;
  void enter_era();
  void forget_places();
  Translation* find(const interp::Unit& unit, u64 linear);
  // The cache's lock is held in these:
  Translation* known(const interp::Unit& unit, u64 linear) const;
  Translation* translate(const interp::Unit& unit, u64 linear);
  bool bind(const interp::Unit& unit);
  void arm();
  void look_at_segments();
  void take_over(Translation& t);  // and in this
  void refuse_outdated(std::span<Translation* const> of_page);
  void refuse(Translation& t);
  void redirect(const Translation& from, const u8* linked, const u8* entered);
  bool decode(const interp::Unit& unit);

  // links.cpp; the cache's lock is held in the first four
  void link(u32 number, Translation& to);
  void lead_to(const Link& from, const Translation& to);
  bool may_lead_to(const Link& from, const Translation& to) const;
  void take_links(Translation& from, Translation& to);
  void select_code_contexts(u32 key);
  void note_gate();
  const JumpTable* known_jump_table(u32 serial);
  void add_jump(u64 linear, const u8* entry);

  // flat_tier.cpp
  void open_flat_tables();
  void plan(const interp::Unit& unit, Translation& t) const;
  bool take_host_fault(gregset_t& registers) override;
  u64 host_fault(const Site& site, u64 linear);
  bool spans_pages(const Site& site, u64 linear) const;
  void access_again();
  bool faults_too_often(const Site& site) const;
  void give_up_flat(const Site& site, bool for_good);
  void give_up_sharing(const Site& site);

  // trace.cpp
  void trace_unit(const interp::Unit& unit, u64 linear, const Emitter& emitter,
                  std::span<const u8> host) const;
  void trace_leave(Leave why) const;

  // callouts.cpp
  u64 finish(const Site& site, interp::Flow flow);
  const u8* go_on(interp::Flow flow);
  void catch_up(const Site& site);
  u64 open_needed_vectors(u32 needed);
  void forget_returns();
  void adopt_privilege() {
    if (context_.privilege_changed) [[unlikely]]
      adopt_changed_privilege();
  }
  void adopt_changed_privilege();
  /// First of all in what translated code calls: another vCPU may have made the code, and its Sites.
  void come_from_code() {
    era_->code.see_patches();
    adopt_privilege();
  }
  u64 run_site(const Site& site);
  u64 missed_return(const Site& site);
  SlowAccess slow_access(const Site& site, u64 linear);
  u64 code_store(const Site& site, const u8* host);

  Options options_;
  VcpuBlock block_;
  interp::Interpreter& interp_;
  Vcpu& v_;
  Context& context_;
  Distances distances_;
  std::shared_ptr<TranslationCache> cache_;
  /// While run() runs: what this vCPU runs in; `rested_` in between. Only this thread changes them.
  std::shared_ptr<Era> era_;
  std::weak_ptr<Era> rested_;
  CodeCache routines_code_;
  Routines routines_;
  ReturnStack returns_;

  bool counted_;  ///< translated code counts instructions
  ContextNumbers code_contexts_;
  static constexpr std::size_t kJumpTables = 8;
  static const JumpTable kNoJumps;
  struct KnownJumps {
    u32 serial = 0;  ///< ContextNumbers::select() of what the table is for
    u64 used = 0;    ///< when it was last selected
    std::unique_ptr<JumpTable> table;
  };
  std::vector<KnownJumps> jump_tables_;
  std::array<const JumpTable*, 2> selected_{};  ///< of the lower and the upper half of the address space
  u64 jump_clock_ = 0;
  std::array<u64, 2> code_stamps_{};  ///< what Context::code_serial was selected for
  u32 code_key_ = 0;
  u32 far_links_ = 0;                     ///< no Context::far_serials from here on is set
  std::mutex changed_mutex_;              ///< a leaf
  std::vector<const CodePage*> changed_;  ///< whose code was overwritten, not yet looked at
  std::unique_ptr<FlatTables> flat_;
  /// The access that last ended in a page fault: its instruction is likely to run again.
  struct Retry {
    u64 rip = 0;
    u64 linear = 0;
    bool armed = false;
  } retry_;
  std::optional<u32> pending_link_;  ///< in the era
  bool by_handlers_ = false;         ///< the next unit is to be run by its instructions' handlers
  std::vector<x86::Decoded> decoded_;
  std::vector<interp::Insn> insns_;

  Counter translated_units_, translated_instructions_, taken_units_, refused_, entries_, linked_, called_out_,
      hot_units_, slow_accesses_, continued_, vector_loads_, closed_units_, host_faults_, given_up_;
  std::unique_ptr<Counter[]> called_out_by_;
};

}  // namespace vellum::bt
