// Parked runs: what is left of a run whose long wait has freed its thread and its stack. When the wait may be over, the run
// begins again from its first line, and replays what is recorded.
//
// A parked run keeps its row (PENDING, its token) and its queue slot, and holds neither inputs nor history. It is entered only
// after its old stack has returned; a wake until then is remembered. Woken runs pass a gate as claimed ones do. A run
// begins again only if its row is still ours; in case nobody wakes it, all are looked at in turn.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "platform/seam.hpp"
#include "runtime/run.hpp"

namespace dbos::runtime {

class Executor;

class Parking {
   public:
    explicit Parking(Executor& executor) : executor_(executor) {}
    /// stop().
    ~Parking();
    Parking(const Parking&) = delete;
    Parking& operator=(const Parking&) = delete;

    /// Forgets all: their rows stay PENDING and are recovered. Nothing is parked any more.
    void stop() noexcept;

    /// Takes over a run whose stack has returned by a park. False: nothing is parked here any more.
    bool park(const std::shared_ptr<Run>& run);
    /// The lease is lost: none of them is ours any more.
    void forget_all() noexcept;
    /// Takes those out that are parked here.
    void drop_parked(std::vector<sysdb::Fence>& fences) const;
    /// How many wake at an instant not later than this one (durable clock).
    std::size_t due_before(sysdb::Millis instant) const;

    /// Whether none is being woken; `next` becomes the instant at which the first one wakes, if that is earlier.
    bool at_rest(std::optional<sysdb::Millis>& next) const;
    /// The durable clock has been set forward.
    void time_has_passed() noexcept;

   private:
    using Key = std::uint64_t;
    struct Entry {
        sysdb::Fence fence;
        const detail::Implementation* implementation = nullptr;
        const std::string* queue = nullptr;  // of queue_names_; null = none
        std::optional<sysdb::Millis> until;
        std::shared_ptr<Waiting> waiting;
        std::unique_ptr<BackOff> back_off;
        std::optional<Remembered> remembered;
        seam::Duration replay{};
        seam::SteadyTime since{};
        bool attempts_high = false;  // recovery_attempts > 1, and not settled yet
    };
    void run();
    void woken(Key key) noexcept;
    /// Those whose time has come or that were woken, oldest first, at most `most`; some may have gone. Under mutex_.
    std::vector<Key> take_due(std::size_t most);
    void wake(const std::vector<Key>& keys);
    void begin_again(Entry& entry, sysdb::ClaimedWorkflow row, std::uint32_t lapse);
    void drop(const Entry& entry) noexcept;
    /// Removes it. Under mutex_.
    Entry take(std::map<Key, Entry>::iterator at);
    /// A chunk of all: which are still ours, and which have been parked for long.
    void watch();

    Executor& executor_;
    mutable seam::Mutex mutex_;
    seam::CondVar changed_;
    std::map<Key, Entry> entries_;
    /// Of the fences of entries_: less to keep than the fences again.
    std::unordered_multiset<std::size_t> marks_;
    using Due = std::pair<sysdb::Millis, Key>;
    std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;  // also of entries that have gone
    std::vector<Key> woken_;
    std::set<std::string> queue_names_;
    Key next_ = 1;
    Key watched_ = 0;
    bool waking_ = false;
    bool stopping_ = false;
    seam::Thread thread_;
};

}  // namespace dbos::runtime
