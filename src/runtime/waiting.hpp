// What a body waits for, as data: registered sources that outlive the body's stack when the run parks.
//
// Order everywhere: register, check, then wait or park. A source that has something to tell signals; whoever waits (the body's
// thread, or the list of parked runs) looks again.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "client/hub.hpp"
#include "platform/seam.hpp"
#include "runtime/mailboxes.hpp"

namespace dbos::runtime {

class Executor;

class Waiting : public std::enable_shared_from_this<Waiting> {
   public:
    /// What a source has told.
    struct Told {
        std::optional<sysdb::ResultRow> row = {};   // result: status and payload; end: the status
        std::optional<sysdb::EventRow> event = {};  // event
        bool there = false;                         // stream, message: look at the database
        std::exception_ptr error = {};
        bool anything() const noexcept { return row || event || there || error; }
    };
    explicit Waiting(Executor& executor) : executor_(executor) {}
    /// Withdraws all registrations.
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

    // Each registers one source and returns its number.
    std::size_t on_result(const std::string& workflow_id, const client::WaitOptions& options);
    std::size_t on_end(const std::string& workflow_id, const client::WaitOptions& options);
    std::size_t on_event(const sysdb::EventKey& key, const client::WaitOptions& options);
    std::size_t on_stream(const sysdb::StreamPosition& position, const client::WaitOptions& options);
    std::size_t on_message(const std::string& workflow_id, const std::string& topic);

    /// Whom to tell from now on; told at once if there is news.
    void attach(std::function<void()> target);
    /// Whether a source has told something since take_news().
    bool has_news() const;
    /// The sources that have told something since the last call. To be called before a look, so that what comes during the
    /// look is news again.
    std::vector<std::size_t> take_news();
    /// A copy of what a source has told last.
    Told told(std::size_t source) const;

   private:
    struct Source {
        client::WaiterHub::WaitId wait = 0;
        Mailboxes::Id mailbox = 0;
        Told told = {};
        bool is_news = false;
    };
    std::size_t add_source();
    /// Registers a source with the hub: `add` is given what the hub calls.
    template <class T, class Add>
    std::size_t on_hub(T Told::* part, Add add);
    void tell(std::size_t source, Told told) noexcept;

    Executor& executor_;
    mutable seam::Mutex mutex_;
    std::vector<Source> sources_;
    std::vector<std::size_t> news_;
    std::function<void()> target_;
};

}  // namespace dbos::runtime
