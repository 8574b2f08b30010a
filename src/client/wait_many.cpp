// Core: waiting for the first of several workflows, or for all of them.
#include <set>

#include "client/core.hpp"
#include "client/marks.hpp"

namespace dbos::client {
namespace {

WaitOptions checked(const WaitWorkflowsOptions& options) {
    core::check_wait(options);
    return wait_options(options.polling_interval, options.timeout);
}

/// The waits of one call; ends with the first end, or with the last. Lives as long as a wait of it does.
class Ends : public std::enable_shared_from_this<Ends> {
   public:
    using Told = detail::OnceFunction<void(std::size_t which, std::exception_ptr error)>;

    Ends(WaiterHub& hub, bool first, Told told) : hub_(hub), first_(first), told_(std::move(told)) {}

    void begin(const std::vector<std::string>& ids, const WaitOptions& options) {
        left_ = ids.size();
        for (std::size_t which = 0; which < ids.size(); ++which) {
            const auto id = hub_.add_end(
                ids[which], options,
                [self = shared_from_this(), which](const sysdb::ResultRow&, const std::exception_ptr& error) {
                    self->ended(which, error);
                });
            const std::lock_guard<seam::Mutex> lock(mutex_);
            waits_.push_back(id);
        }
        bool over = false;
        {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            begun_ = true;
            over = over_;
        }
        if (over) withdraw();
    }

    /// Ends all waits that still stand.
    void withdraw() noexcept {
        std::vector<WaiterHub::WaitId> waits;
        {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            waits.swap(waits_);
        }
        for (const auto id : waits) hub_.withdraw(id);
    }

   private:
    void ended(std::size_t which, const std::exception_ptr& error) {
        Told told;
        bool begun = false;
        {
            const std::lock_guard<seam::Mutex> lock(mutex_);
            if (over_) return;
            --left_;
            if (error && left_ > 0 && first_ && concerns_one(error)) return;  // the others may end yet
            if (!error && !first_ && left_ > 0) return;
            over_ = true;
            begun = begun_;
            told = std::move(told_);
        }
        if (begun) withdraw();
        told(which, error);
    }

    /// Deleted, or out of time: each had its own last look, so another one may have ended in time.
    static bool concerns_one(const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const NonexistentWorkflow&) {
            return true;
        } catch (const Timeout&) {
            return true;
        } catch (...) {
            return false;
        }
    }

    WaiterHub& hub_;
    const bool first_;
    seam::Mutex mutex_;  // guards what follows
    Told told_;
    std::vector<WaiterHub::WaitId> waits_;
    std::size_t left_ = 0;
    bool begun_ = false;  // waits_ is complete
    bool over_ = false;
};

void check_first(const std::vector<std::string>& ids) {
    if (ids.empty()) throw UsageError("wait_first: expected one handle or more, got none");
    std::set<std::string_view> seen;
    for (const std::string& id : ids) {
        if (!seen.insert(id).second)
            throw UsageError("wait_first: expected handles of different workflows, got \"" + id + "\" twice");
    }
}

std::vector<std::string> distinct(const std::vector<std::string>& ids) {
    const std::set<std::string> all(ids.begin(), ids.end());
    return {all.begin(), all.end()};
}

std::size_t block(Core& core, const std::vector<std::string>& ids, bool first, const WaitOptions& options) {
    return guarded(core, [&] {
        const BlockingWait waiting;
        return block_until_told<std::size_t>([&](Ends::Told told) {
            std::make_shared<Ends>(core.hub(), first, std::move(told))->begin(ids, options);
        });
    });
}

}  // namespace

std::size_t Core::wait_first(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options) {
    check_first(ids);
    return block(*this, ids, true, checked(options));
}

void Core::wait_all(const std::vector<std::string>& ids, const WaitWorkflowsOptions& options) {
    const WaitOptions wait = checked(options);
    if (!ids.empty()) block(*this, distinct(ids), false, wait);
}

void Core::wait_many_async(const std::vector<std::string>& ids, bool first,
                           const WaitWorkflowsOptions& options,
                           const std::shared_ptr<detail::FutureCore>& future, ManyDone done) {
    if (first) check_first(ids);
    const WaitOptions wait = checked(options);
    check_open();
    if (ids.empty()) return done([] { return std::size_t{0}; }, false);
    const auto self = shared_from_this();
    const auto ends = std::make_shared<Ends>(
        hub_, first, [self, done = std::move(done)](std::size_t which, std::exception_ptr error) mutable {
            const bool failed = error != nullptr;
            done(
                [which, error]() -> std::size_t {
                    if (error) rethrow_for_user(error);
                    return which;
                },
                failed);
        });
    ends->begin(first ? ids : distinct(ids), wait);
    future->on_abandon([self, ends] { ends->withdraw(); });
}

}  // namespace dbos::client
