//! What goes wrong among several instances, drawn from a world's seed.

use super::super::faults::Fault;
use super::super::world::{Happening, SECOND_US, World};

#[derive(Debug, Clone, Copy)]
pub(crate) enum CouncilFault {
    /// An instance is killed, or ends by itself.
    Stop {
        seat: usize,
        resigns: bool,
    },
    Start(usize),
    /// An instance sleeps.
    Pause(usize),
    Wake(usize),
    /// An instance cannot reach the board.
    CutFromBoard(usize),
    ReachBoard(usize),
    /// The board has lost its quorum.
    BoardDown,
    BoardUp,
    /// An instance cannot reach any daemon.
    Blind(usize),
    See(usize),
}

impl World {
    pub(crate) fn draw_council_faults(&mut self, during_us: u64) {
        let members = self.board().members.len() as u64;
        for _ in 0..self.random(1..7) {
            let at_us = self.now_us() + self.random(0..during_us);
            let lasts_us = if self.random(0..3) == 0 { 3 * SECOND_US } else { 30 * SECOND_US };
            let end_us = at_us + self.random(1_000..lasts_us);
            let seat = self.random(1..members + 1) as usize;
            let (fault, end) = match self.random(0..9) {
                0..2 => (CouncilFault::Stop { seat, resigns: false }, CouncilFault::Start(seat)),
                2 => (CouncilFault::Stop { seat, resigns: true }, CouncilFault::Start(seat)),
                3..5 => (CouncilFault::Pause(seat), CouncilFault::Wake(seat)),
                5..7 => (CouncilFault::CutFromBoard(seat), CouncilFault::ReachBoard(seat)),
                7 => (CouncilFault::BoardDown, CouncilFault::BoardUp),
                _ => (CouncilFault::Blind(seat), CouncilFault::See(seat)),
            };
            self.at(at_us, Happening::Fault(Fault::Council(fault)));
            self.at(end_us, Happening::Fault(Fault::Council(end)));
        }
    }

    pub(crate) fn suffer_in_council(&mut self, fault: CouncilFault) {
        let now_us = self.now_us();
        self.history.log(now_us, || format!("*** {fault:?}"));
        self.history.maestro_started(now_us);
        match fault {
            CouncilFault::Stop { seat, resigns } => self.stop_member(seat, resigns),
            CouncilFault::Start(seat) => self.start_member(seat),
            CouncilFault::Pause(seat) => self.pause(seat),
            CouncilFault::Wake(seat) => self.wake(seat),
            CouncilFault::CutFromBoard(seat) => drop(self.board().cut.insert(seat)),
            CouncilFault::ReachBoard(seat) => {
                self.board().cut.remove(&seat);
                self.deliver_to(seat);
            }
            CouncilFault::BoardDown => self.board().is_up = false,
            CouncilFault::BoardUp => {
                self.board().is_up = true;
                for seat in 1..=self.board().members.len() {
                    self.deliver_to(seat);
                }
            }
            CouncilFault::Blind(seat) => {
                self.board().blind.insert(seat);
                self.disturb_all_of(seat);
            }
            CouncilFault::See(seat) => {
                self.disturb_all_of(seat);
                self.board().blind.remove(&seat);
            }
        }
    }

    /// The daemons of an instance that cannot reach them count as lost.
    fn disturb_all_of(&mut self, seat: usize) {
        if self.board().blind.contains(&seat) {
            for daemon in self.cluster.daemons.keys().cloned().collect::<Vec<_>>() {
                self.disturb(&daemon, "may be out of an instance's sight");
            }
        }
    }

    pub(crate) fn end_council_faults(&mut self) {
        for seat in 1..=self.board().members.len() {
            for end in [CouncilFault::Wake(seat), CouncilFault::ReachBoard(seat), CouncilFault::See(seat)] {
                self.suffer_in_council(end);
            }
        }
        self.suffer_in_council(CouncilFault::BoardUp);
        for seat in 1..=self.board().members.len() {
            self.suffer_in_council(CouncilFault::Start(seat));
        }
    }
}
