#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""iscsid, its records and the kernel's sessions in memory."""

import os
import shutil
import tempfile
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import nodes


class FakeIscsi:
    """Runs iscsiadm as os-brick's executor would."""

    _root_helper = 'sudo'

    def __init__(self, test):
        self.root = tempfile.mkdtemp()
        test.addCleanup(shutil.rmtree, self.root)
        for name in ('_SESSIONS', '_CONNECTIONS'):
            patch = mock.patch.object(nodes, name, f'{self.root}/{name}')
            patch.start()
            test.addCleanup(patch.stop)
        self.records = {}      # node -> settings
        self.dead = set()      # nodes that don't answer
        self.staying = set()   # nodes whose sessions don't end
        self.late = []         # nodes that answer when it's too late
        self.commands = []
        self._number = 0

    def _execute(self, *command, check_exit_code=(0,), run_as_root=False,
                 root_helper=None):
        assert (run_as_root, root_helper) == (True, 'sudo'), command
        assert command[:2] == ('iscsiadm', '-m'), command
        self.commands.append(' '.join(command[2:]))
        mode, *words = command[2:]
        status, output = getattr(self, '_' + mode)(words)
        if status not in check_exit_code:
            raise processutils.ProcessExecutionError(
                exit_code=status, stderr='iscsiadm says no')
        return output, ''

    def _session(self, words):
        assert words[0] == '-r' and words[2] == '-u', words
        self.remove(words[1])
        return 0, ''

    def _node(self, words):
        if not words:
            lines = [f'{node.portal},1 {node.iqn}\n'
                     for node in self.records]
            return (0, ''.join(lines)) if lines else (21, '')
        options = dict(zip(words[::2], words[1::2]))
        iqn, portal = options['-T'], options.get('-p')
        matching = [node for node in self.records if node.iqn == iqn and
                    portal in (None, node.portal)]
        if options.get('--op') == 'new':
            if nodes.Node(portal, iqn) in self.sessions():
                return 15, ''
            self.records[nodes.Node(portal, iqn)] = {}
        elif not matching:
            return 21, ''
        elif options.get('--op') == 'update':
            names = words[words.index('-n')::4]
            assert set(names) == {'-n'}, words
            start = words.index('-n')
            for node in matching:
                self.records[node].update(
                    zip(words[start + 1::4], words[start + 3::4]))
        elif options.get('--op') == 'delete':
            if self.late:
                self.add(self.late.pop())
            if not self.sessions().isdisjoint(matching):
                return 15, ''
            for node in matching:
                del self.records[node]
        else:
            return self._ask(words, matching[0])
        return 0, ''

    def _ask(self, words, node):
        assert words[-1] == '--no_wait', words
        if '--logout' in words:
            if node not in self.staying:
                self.remove(*[number for number, there in
                              self.numbers().items() if there == node])
        elif node in self.sessions():
            return 15, ''
        elif node not in self.dead:
            self.add(node)
        return 0, ''

    def add(self, node, state='LOGGED_IN', disks=()):
        """Let there be a session."""
        self._number += 1
        session = f'{self.root}/_SESSIONS/session{self._number}'
        address, _colon, port = node.portal.rpartition(':')
        self._write(f'{session}/targetname', node.iqn)
        self._write(f'{session}/state', state)
        connection = (f'{self.root}/_CONNECTIONS/'
                      f'connection{self._number}:0/persistent_')
        self._write(connection + 'address', address.strip('[]'))
        self._write(connection + 'port', port)
        for disk in disks:
            os.makedirs(f'{session}/device/target2:0:0/2:0:0:0/block/{disk}')
        return str(self._number)

    def remove(self, *numbers):
        for number in numbers:
            shutil.rmtree(f'{self.root}/_SESSIONS/session{number}')

    def numbers(self):
        return {session.id: session.node for session in nodes.sessions('')}

    def sessions(self):
        return set(self.numbers().values())

    def _write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text + '\n')
