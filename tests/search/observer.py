"""An observer of runs that keeps what it is told."""


class Listener:
    def __init__(self):
        self.phases = []
        self.why = ""

    def begins(self, study, records, workers):
        pass

    def entered(self, phase, done, total):
        self.phases.append((phase, done, total))

    def started(self, job):
        pass

    def recorded(self, records):
        pass

    def timing_front(self, graphs):
        pass

    def ended(self, why):
        self.why = why
