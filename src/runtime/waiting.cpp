#include "runtime/waiting.hpp"

#include <utility>

#include "runtime/executor.hpp"

namespace dbos::runtime {

Waiting::~Waiting() {
    for (const Source& source : sources_) {
        if (source.wait) executor_.hub().withdraw(source.wait);
        if (source.mailbox) executor_.mailboxes().remove(source.mailbox);
    }
}

std::size_t Waiting::add_source() {
    std::lock_guard lock(mutex_);
    sources_.emplace_back();
    return sources_.size() - 1;
}

void Waiting::tell(std::size_t source, Told told) noexcept {
    std::function<void()> target;
    {
        std::lock_guard lock(mutex_);
        sources_[source].told = std::move(told);
        signalled_ = true;
        target = target_;
    }
    if (target) target();
}

// The callbacks hold no reference: a wait that is being told while it is withdrawn finds nobody.

std::size_t Waiting::on_result(const std::string& workflow_id, const client::WaitOptions& options) {
    const std::size_t n = add_source();
    const auto id = executor_.hub().add(
        workflow_id, options, [weak = weak_from_this(), n](sysdb::ResultRow row, std::exception_ptr error) {
            const auto self = weak.lock();
            if (!self) return;
            error ? self->tell(n, {.error = std::move(error)}) : self->tell(n, {.row = std::move(row)});
        });
    std::lock_guard lock(mutex_);
    sources_[n].wait = id;
    return n;
}

std::size_t Waiting::on_end(const std::string& workflow_id, const client::WaitOptions& options) {
    const std::size_t n = add_source();
    const auto id = executor_.hub().add_end(
        workflow_id, options, [weak = weak_from_this(), n](sysdb::ResultRow row, std::exception_ptr error) {
            const auto self = weak.lock();
            if (!self) return;
            error ? self->tell(n, {.error = std::move(error)}) : self->tell(n, {.row = std::move(row)});
        });
    std::lock_guard lock(mutex_);
    sources_[n].wait = id;
    return n;
}

std::size_t Waiting::on_event(const sysdb::EventKey& key, const client::WaitOptions& options) {
    const std::size_t n = add_source();
    const auto id = executor_.hub().add_event(
        key, options,
        [weak = weak_from_this(), n](std::optional<sysdb::EventRow> event, std::exception_ptr error) {
            const auto self = weak.lock();
            if (!self) return;
            error ? self->tell(n, {.error = std::move(error)}) : self->tell(n, {.event = std::move(event)});
        });
    std::lock_guard lock(mutex_);
    sources_[n].wait = id;
    return n;
}

std::size_t Waiting::on_stream(const sysdb::StreamPosition& position, const client::WaitOptions& options) {
    const std::size_t n = add_source();
    const auto id = executor_.hub().add_stream(
        position, options, [weak = weak_from_this(), n](bool there, std::exception_ptr error) {
            const auto self = weak.lock();
            if (!self) return;
            error ? self->tell(n, {.error = std::move(error)}) : self->tell(n, {.there = there});
        });
    std::lock_guard lock(mutex_);
    sources_[n].wait = id;
    return n;
}

std::size_t Waiting::on_message(const std::string& workflow_id, const std::string& topic) {
    const std::size_t n = add_source();
    const auto id = executor_.mailboxes().add(workflow_id, topic, [weak = weak_from_this(), n] {
        if (const auto self = weak.lock()) self->tell(n, {.there = true});
    });
    std::lock_guard lock(mutex_);
    sources_[n].mailbox = id;
    return n;
}

void Waiting::attach(std::function<void()> target) {
    std::function<void()> now;
    {
        std::lock_guard lock(mutex_);
        target_ = std::move(target);
        if (std::exchange(signalled_, false)) now = target_;
    }
    if (now) now();
}

bool Waiting::any() const {
    std::lock_guard lock(mutex_);
    for (const Source& source : sources_) {
        if (source.told.anything()) return true;
    }
    return false;
}

Waiting::Told Waiting::told(std::size_t source) const {
    std::lock_guard lock(mutex_);
    return sources_.at(source).told;
}

void Waiting::reset(std::size_t source) {
    std::lock_guard lock(mutex_);
    sources_.at(source).told = {};
}

}  // namespace dbos::runtime
