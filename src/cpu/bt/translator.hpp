// The binary translator: 64-bit guest code becomes host code, a unit at a time, once it has run a few times;
// all else is the interpreter's, which also delivers every event, steps, and watches breakpoints
// (docs/design/binary-translation.md).
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "cpu/bt/code_cache.hpp"
#include "cpu/bt/context_numbers.hpp"
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/host_faults.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/bt/perf_map.hpp"
#include "cpu/bt/return_stack.hpp"
#include "cpu/bt/routines.hpp"
#include "cpu/bt/vcpu_block.hpp"

namespace vellum::bt {

class Translator final : public Engine,
                         private interp::UnitRunner,
                         private HostFaultTaker,
                         private CodeWatcher,
                         private Kicker {
 public:
  /// As interp::Interpreter.
  Translator(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock, const x86::CpuModel& model,
             Hazards& hazards, const Options& options);
  ~Translator() override;

  Exit run(Budget budget) override;
  void pull(StateMask groups, VcpuState& to) override { interp_.pull(groups, to); }
  void push(StateMask groups, const VcpuState& from) override { interp_.push(groups, from); }
  void invalidate(GuestPhysRange range) override {
    interp_.invalidate(range);
    flush();
  }
  u64 retired() const override { return interp_.retired(); }
  u64 steps() const override { return interp_.steps(); }
  void stats(std::vector<StatRow>& rows) const override;

  Vcpu& vcpu() { return interp_.vcpu(); }

 private:
  static constexpr u32 kNoLink = ~0u;  ///< the end of a list of links
  static constexpr u32 kUnlisted = ~0u - 1;

  /// A unit's code for one guest-virtual address.
  struct Translation {
    u64 linear = 0;
    const u8* linked = nullptr;
    const u8* entered = nullptr;
    const u8* checked = nullptr;  ///< as `linked`, if `vectors` are known to be loaded; may be nullptr
    u32 vectors = 0;
    const u8* refuse = nullptr;          ///< leaves with RIP at the unit's start
    const interp::Unit* unit = nullptr;  ///< there until units_replaced() or units_dropped()
    Translation* next = nullptr;         ///< the same unit at another address, or an earlier translation
    bool stale = false;                  ///< only leads to a later translation, or out
    bool hot = false;
    bool wide = true;        ///< 64-bit code
    i32 runs_left = 0;       ///< negative: to be translated again
    u32 no_flat = 0;         ///< bit n: instruction n's memory operand is looked up although the unit is hot
    u32 no_share = 0;        ///< bit n: instruction n's memory operand shares no slot with others
    u32 bursts = 0;          ///< those of no_flat that are tried again after a while
    u8 retries = 0;          ///< how often they were
    u32 links_in = kNoLink;  ///< the first of the links that lead here
    // What it was made from: valid while these are the pages' generations.
    const CodePage* page = nullptr;
    const CodePage* second = nullptr;
    u32 generation = 0, second_generation = 0;

    bool valid() const {
      return page->generation.load(std::memory_order_acquire) == generation &&
             (second == nullptr || second->generation.load(std::memory_order_acquire) == second_generation);
    }
  };
  struct Link {
    const u8* at = nullptr;     ///< the displacement of the jump
    const u8* guard = nullptr;  ///< what is compared with Context::code_serial, if anything is
    u64 target = 0;
    u32 vectors = 0;       ///< VectorBits that are known to be loaded there
    u32 next = kUnlisted;  ///< of those that lead to the same translation
  };

  interp::Flow run(const interp::Unit& unit, u32 key, u64 limit, u64& done) override;
  void units_dropped() override { flush(); }
  void units_replaced() override;
  void code_changed() override;
  void code_changed(const CodePage& page) override;
  void kick() override;

  Translation* find(const interp::Unit& unit, u64 linear);
  Translation* translate(const interp::Unit& unit, u64 linear);
  void arm();
  void look_at_segments();
  void take_over(Translation& t);
  void refuse_outdated(std::span<Translation* const> of_page);
  void refuse(Translation& t);
  void redirect(const Translation& from, const u8* linked, const u8* entered);
  bool decode(const interp::Unit& unit);
  void flush();

  // links.cpp
  void link(u32 number, Translation& to);
  void lead_to(const Link& from, const Translation& to);
  bool leads_to(const Link& from, const Translation& to) const;
  void take_links(Translation& from, Translation& to);
  void select_code_contexts(u32 key);
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
  void translate_again(Translation& t);

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
  CodeCache cache_;
  PerfMap perf_map_;
  Routines routines_;
  ReturnStack returns_;
  std::size_t routines_end_ = 0;

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
  u32 epoch_ = 1;
  std::deque<Translation> translations_;
  /// Those made from a page, by where on a page they begin: there may be one for each of its bytes.
  std::unordered_map<const CodePage*, std::vector<Translation*>> by_page_;
  std::mutex changed_mutex_;              ///< a leaf
  std::vector<const CodePage*> changed_;  ///< whose code was overwritten, not yet looked at
  std::deque<Site> sites_;
  /// Where translated code may fault in the host, ascending: offsets in the code cache.
  struct FaultRange {
    u32 begin, end;
    const Site* site;
  };
  std::vector<FaultRange> fault_ranges_;
  std::unique_ptr<FlatTables> flat_;
  /// The access that last ended in a page fault: its instruction is likely to run again.
  struct Retry {
    u64 rip = 0;
    u64 linear = 0;
    bool armed = false;
  } retry_;
  std::vector<Link> links_;
  std::optional<u32> pending_link_;
  bool by_handlers_ = false;  ///< the next unit is to be run by its instructions' handlers
  std::vector<x86::Decoded> decoded_;

  Counter translated_units_, translated_instructions_, refused_, flushes_, entries_, linked_, called_out_,
      hot_units_, slow_accesses_, continued_, vector_loads_, closed_units_, host_faults_, given_up_;
  std::unique_ptr<Counter[]> called_out_by_;
};

}  // namespace vellum::bt
