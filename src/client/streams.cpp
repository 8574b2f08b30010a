// Core: reading streams. Values are read in pages when they are asked for; the hub says when there is something to read.
#include <deque>

#include "client/core.hpp"
#include "client/marks.hpp"
#include "sysdb/database.hpp"

namespace dbos {

detail::StreamSource::~StreamSource() = default;

namespace client {
namespace {

class ClientStream final : public detail::StreamSource, public std::enable_shared_from_this<ClientStream> {
   public:
    ClientStream(std::shared_ptr<Core> core, sysdb::StreamPosition from, const ReadStreamOptions& options)
        : core_(std::move(core)),
          at_(std::move(from)),
          wait_(wait_options(options.polling_interval, options.timeout)),
          timeout_seconds_(options.timeout.value_or(Duration(0)).count()) {}

    std::optional<Value> next() override {
        core_->check_thread("read_stream", true, true);
        const Turn turn(*this);
        while (pages_needed()) {
            const bool there = guarded(*core_, [&] {
                const BlockingWait waiting;
                return core_->hub().wait_stream(at_, wait_);
            });
            if (!there) throw timeout();
        }
        return pop();
    }

    void next_async(const std::shared_ptr<detail::FutureCore>& future, NextDone done) override {
        core_->check_thread("read_stream_async", true, false);
        take_turn();
        // The page is read, and values decoded, on a worker thread: neither here nor on the hub's thread.
        core_->post([self = shared_from_this(), future, done = std::move(done)]() mutable {
            self->look(future, std::move(done));
        });
    }

    const std::shared_ptr<detail::CallbackQueue>& callbacks() const noexcept override {
        return core_->callbacks();
    }

   private:
    /// One value is asked for at a time.
    class Turn {
       public:
        explicit Turn(ClientStream& stream) : stream_(stream) { stream_.take_turn(); }
        ~Turn() { stream_.busy_.store(false); }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

       private:
        ClientStream& stream_;
    };
    void take_turn() {
        if (busy_.exchange(true)) {
            throw UsageError("the next value of stream \"" + at_.key + "\" of workflow \"" + at_.workflow_id +
                             "\" was asked for while the one before is still waited for");
        }
    }

    StreamTimeout timeout() const { return StreamTimeout(at_.workflow_id, at_.key, timeout_seconds_); }

    /// Fills the buffer from the database if it is empty; true = there is nothing yet.
    bool pages_needed() {
        if (ended_ || !buffer_.empty()) return false;
        for (bool last_look = false;; last_look = true) {
            sysdb::StreamPage page = guarded(*core_, [&] { return core_->database().read_stream(at_); });
            if (!page.status) throw NonexistentWorkflow(at_.workflow_id);
            if (!page.values.empty()) {
                at_.offset += static_cast<std::int64_t>(page.values.size());
                for (sysdb::StreamValue& value : page.values) buffer_.push_back(std::move(value));
                return false;
            }
            if (!is_terminal(*page.status)) return true;
            // Once more: a value may have been committed between the two looks of whoever wrote it.
            if (last_look) {
                ended_ = true;
                return false;
            }
        }
    }

    /// The next value of the buffer. One that cannot be decoded is thrown once, and passed over.
    std::optional<Value> pop() {
        if (ended_ || buffer_.empty()) return std::nullopt;
        const sysdb::StreamValue stored = std::move(buffer_.front());
        buffer_.pop_front();
        if (stored.value == sysdb::kStreamEnd) return end();
        Value value =
            core_->formats().value(stored.value, stored.serialization,
                                   "stream \"" + at_.key + "\" of workflow \"" + at_.workflow_id + '"');
        if (value.kind() == Kind::string && value.as_string() == sysdb::kStreamEnd) return end();
        return value;
    }
    std::optional<Value> end() {
        ended_ = true;
        buffer_.clear();
        return std::nullopt;
    }

    /// On a worker thread.
    void look(const std::shared_ptr<detail::FutureCore>& future, NextDone done) noexcept {
        std::exception_ptr error;
        try {
            if (pages_needed()) return wait(future, std::move(done));
            std::optional<Value> value = pop();
            busy_.store(false);
            return done([value = std::move(value)]() mutable { return std::move(value); }, false);
        } catch (...) {
            error = std::current_exception();
        }
        give_up(std::move(error), std::move(done));
    }
    void give_up(std::exception_ptr error, NextDone done) noexcept {
        busy_.store(false);
        done([error = std::move(error)]() -> std::optional<Value> { rethrow_for_user(error); }, true);
    }
    void wait(const std::shared_ptr<detail::FutureCore>& future, NextDone done) {
        const auto self = shared_from_this();
        const auto id = core_->hub().add_stream(
            at_, wait_, [self, future, done = std::move(done)](bool there, std::exception_ptr error) mutable {
                if (error) return self->give_up(std::move(error), std::move(done));
                if (!there) return self->give_up(std::make_exception_ptr(self->timeout()), std::move(done));
                self->core_->post([self, future, done = std::move(done)]() mutable {
                    self->look(future, std::move(done));
                });
            });
        future->on_abandon([self, id] {
            self->core_->hub().withdraw(id);
            self->busy_.store(false);
        });
    }

    const std::shared_ptr<Core> core_;
    sysdb::StreamPosition at_;  // behind what is in the buffer
    const WaitOptions wait_;
    const double timeout_seconds_;
    std::deque<sysdb::StreamValue> buffer_;
    bool ended_ = false;
    seam::Atomic<bool> busy_{false};
};

}  // namespace

std::shared_ptr<detail::StreamSource> Core::stream(std::string workflow_id, std::string key,
                                                   const ReadStreamOptions& options) {
    core::check_stream(workflow_id, key, options);
    const std::int64_t offset = options.offset;
    return std::make_shared<ClientStream>(
        shared_from_this(), sysdb::StreamPosition{std::move(workflow_id), std::move(key), offset}, options);
}

}  // namespace client
}  // namespace dbos
