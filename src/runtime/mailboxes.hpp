// Who waits for messages in this process, blocked or parked, and how they learn of one.
//
// A notification or a commit of this process names the mailbox; else each is looked at in rotating chunks: at least once in a
// second, or, with many, once in n/20 000 s. A receiver looks for itself first, after it has been added.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "platform/seam.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::runtime {

class Mailboxes {
   public:
    using Id = std::uint64_t;
    /// Starts nothing before the first receiver. `database` must outlive it.
    Mailboxes(sysdb::SystemDatabase& database, LogSink log);
    /// stop().
    ~Mailboxes();
    Mailboxes(const Mailboxes&) = delete;
    Mailboxes& operator=(const Mailboxes&) = delete;

    /// `signal` is told that there may be a message, again and again: on any thread, quick, no throw.
    Id add(const std::string& workflow_id, const std::string& topic, std::function<void()> signal);
    /// A signal that is being given may still come.
    void remove(Id id) noexcept;
    /// A notification on the channel of messages: `<workflow id>::<topic>`.
    void notified(std::string_view payload) noexcept;
    /// Anything may have changed.
    void look_at_all() noexcept;
    /// No more looks; fails nobody.
    void stop() noexcept;

   private:
    struct Box {
        std::string workflow_id;
        std::string topic;
        std::function<void()> signal;
    };
    void run();
    void look(std::unique_lock<seam::Mutex>& lock);

    sysdb::SystemDatabase& database_;
    const LogSink log_;
    seam::Mutex mutex_;
    seam::CondVar changed_;
    std::map<Id, Box> boxes_;
    std::multimap<std::string, Id, std::less<>> by_payload_;
    Id next_ = 1;
    Id last_looked_ = 0;  // the rotation
    bool all_ = false;    // a round at once
    bool stopping_ = false;
    bool failing_ = false;
    seam::Thread thread_;
};

}  // namespace dbos::runtime
